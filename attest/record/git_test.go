package record

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository is a git repository with one commit, whose configuration runs things if it can.
func repository(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git: this test did NOT run")
	}
	dir := t.TempDir()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	t.Setenv("GIT_CONFIG_SYSTEM", os.DevNull)
	write(filepath.Join(dir, "train.py"), "print()\n")
	write(filepath.Join(dir, "evil.sh"), "#!/bin/sh\ntouch "+filepath.Join(dir, "ran")+"\n")
	if err := os.Chmod(filepath.Join(dir, "evil.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	inGit(t, dir, "init", "-q", "-b", "main")
	inGit(t, dir, "add", ".")
	inGit(t, dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x")
	inGit(t, dir, "remote", "add", "origin", "https://me:hunter2hunter2@host.example/acme/llm.git")
	inGit(t, dir, "config", "core.fsmonitor", filepath.Join(dir, "evil.sh"))
	inGit(t, dir, "config", "core.pager", filepath.Join(dir, "evil.sh"))
	return dir
}

func inGit(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := exec.Command("git", append([]string{"-C", dir, "-c", "core.fsmonitor=false"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
}

func TestFindCode(t *testing.T) {
	dir := repository(t)
	ctx := context.Background()
	c := findCode(ctx, dir, nil)
	if c == nil || c.URI != "git+https://host.example/acme/llm.git@refs/heads/main" || len(c.Commit) != 40 || c.Dirty() {
		t.Fatalf("%+v", c)
	}
	write(filepath.Join(dir, "out", "model.bin"), "x")
	write(filepath.Join(dir, "notes.txt"), "x")
	write(filepath.Join(dir, "train.py"), "print(1)\n")
	if c = findCode(ctx, dir, []string{filepath.Join(dir, "out")}); c.Modified != 1 || c.Untracked != 1 {
		t.Errorf("%+v", c)
	}
	if c = findCode(ctx, dir, nil); c.Untracked != 2 {
		t.Errorf("%+v", c)
	}
	inGit(t, dir, "checkout", "-q", "--detach")
	if c = findCode(ctx, dir, nil); c.URI != "git+https://host.example/acme/llm.git" {
		t.Errorf("detached: %+v", c)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("the repository's configuration was run")
	}
	if c := findCode(ctx, t.TempDir(), nil); c != nil {
		t.Errorf("no repository: %+v", c)
	}
	t.Setenv("PATH", t.TempDir())
	if c := findCode(ctx, dir, nil); c != nil {
		t.Errorf("no git: %+v", c)
	}
}

// TestFiltersAreNotRun: git status would run what the repository's own configuration calls a filter.
func TestFiltersAreNotRun(t *testing.T) {
	dir := repository(t)
	for _, of := range []string{"clean", "process"} {
		t.Run(of, func(t *testing.T) {
			write(filepath.Join(dir, ".git", "more"), "[filter \"Evil.x\"]\n\t"+of+" = "+filepath.Join(dir, "evil.sh")+"\n\trequired = true\n")
			inGit(t, dir, "config", "--replace-all", "include.path", "more")
			write(filepath.Join(dir, ".gitattributes"), "train.py filter=Evil.x\n")
			write(filepath.Join(dir, "train.py"), "print(2)\n")
			if c := findCode(context.Background(), dir, nil); c.Modified != 1 || c.Untracked == 0 {
				t.Errorf("%+v", c)
			}
			if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
				t.Error("the filter was run")
			}
		})
	}
	inGit(t, dir, "config", "filter.a=b.clean", filepath.Join(dir, "evil.sh"))
	if c := findCode(context.Background(), dir, nil); c.Modified != -1 {
		t.Errorf("a filter that cannot be turned off: %+v", c)
	}
}

func TestRecordInARepository(t *testing.T) {
	dir := repository(t)
	p := testPlan(t, "make")
	p.Command.Dir = dir
	p.ConfigPath = filepath.Join(dir, "train.py")
	p.Products[0].Path = filepath.Join(dir, "out")
	rec, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	predicate, err := rec.Predicate()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(predicate), "hunter2") || rec.Recipe.URI != "git+https://host.example/acme/llm.git@refs/heads/main" || rec.Recipe.Path != "train.py" || rec.Code.Dirty() {
		t.Errorf("%s", predicate)
	}
}

// TestRecordInAnothersRepository: a commit that is missing from a record must not go unnoticed.
func TestRecordInAnothersRepository(t *testing.T) {
	dir := repository(t)
	t.Setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
	p := testPlan(t, "make")
	p.Command.Dir = dir
	p.Products[0].Path = filepath.Join(dir, "out")
	rec, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	if rec.Code != nil || !strings.Contains(strings.Join(rec.Notes, "\n"), "safe.directory") {
		t.Errorf("%+v %q", rec.Code, rec.Notes)
	}
	if hasRepository(t.TempDir()) {
		t.Error("a repository where there is none")
	}
}
