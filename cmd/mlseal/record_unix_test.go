//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mlseal/mlseal/attest"
	"golang.org/x/sys/unix"
)

// recording is a directory in which commands are recorded.
type recording struct {
	t   *testing.T
	dir string
}

func newRecording(t *testing.T) *recording {
	t.Helper()
	c := &chain{t: t, dir: t.TempDir()}
	c.keys("k")
	c.write("base/w.bin", []byte("weights"))
	return &recording{t, c.dir}
}

// process is mlseal recording a shell script, not started yet. What it prints goes to a file, which nobody waits for.
func (r *recording) process(script string, more ...string) (*exec.Cmd, *os.File) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	r.t.Cleanup(cancel)
	args := append([]string{"attest", "record", "--step", "convert", "--material", "baseModel=base", "--product", "out", "--bundle", "out.sigstore.json", "--key", "k.key"}, more...)
	cmd, _ := command(ctx, r.dir, append(args, "--", "sh", "-c", script)...)
	out, err := os.Create(filepath.Join(r.dir, "printed"))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = out.Close() })
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal: signals come from who sends them
	return cmd, out
}

// signalled runs a script, sends a signal once it has said that it is ready, and returns the status.
func (r *recording) signalled(script string, s syscall.Signal, more ...string) int {
	r.t.Helper()
	cmd, _ := r.process(script, more...)
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.awaitFile("ready")
	if err := cmd.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

func (r *recording) awaitFile(name string) {
	r.t.Helper()
	for end := time.Now().Add(hangs); !exists(filepath.Join(r.dir, name)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s never came: %s", name, r.printed())
		}
	}
}

func (r *recording) printed() string {
	data, _ := os.ReadFile(filepath.Join(r.dir, "printed"))
	return string(data)
}

func (r *recording) has(name string) bool { return exists(filepath.Join(r.dir, name)) }

// statement is the payload that was signed.
func (r *recording) statement() string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "out.sigstore.json"))
	if err != nil {
		r.t.Fatalf("%v: %s", err, r.printed())
	}
	bundle, err := attest.Parse(data)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(bundle.Envelope.Payload)
}

// waitFor is a script that does something on a signal, and waits for it. The shell runs the trap between short sleeps.
func waitFor(signal, then string) string {
	return "mkdir -p out; trap '" + then + "' " + signal + "; touch ready; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done; exit 99"
}

func TestRecordForwardsSignals(t *testing.T) {
	t.Run("a command that ends well on SIGTERM", func(t *testing.T) {
		r := newRecording(t)
		if status := r.signalled(waitFor("TERM", "echo x > out/x; exit 0"), unix.SIGTERM); status != 0 {
			t.Errorf("status %d: %s", status, r.printed())
		}
		if s := r.statement(); !strings.Contains(s, `"mlseal_signals":"SIGTERM"`) {
			t.Error(s)
		}
	})
	for name, tc := range map[string]struct {
		script string
		signal syscall.Signal
		want   int
	}{
		"a status of its own":  {waitFor("TERM", "exit 5"), unix.SIGTERM, 5},
		"SIGTERM":              {waitFor("USR2", "exit 5"), unix.SIGTERM, 128 + 15},
		"SIGINT":               {waitFor("USR2", "exit 5"), unix.SIGINT, 128 + 2},
		"SIGHUP":               {waitFor("HUP", "exit 6"), unix.SIGHUP, 6},
		"SIGQUIT":              {waitFor("QUIT", "exit 8"), unix.SIGQUIT, 8},
		"SIGUSR1":              {waitFor("USR1", "exit 7"), unix.SIGUSR1, 7},
		"SIGKILL of the child": {"mkdir -p out; echo x > out/x; touch ready; kill -KILL $$", unix.SIGWINCH, 128 + 9},
	} {
		t.Run(name, func(t *testing.T) {
			if signal.Ignored(tc.signal) {
				t.Skipf("%v is ignored by who runs the tests, as by nohup: so it is by mlseal (TestRecordRespectsNohup)", tc.signal)
			}
			r := newRecording(t)
			if status := r.signalled(tc.script, tc.signal); status != tc.want {
				t.Errorf("status %d, want %d: %s", status, tc.want, r.printed())
			}
			if r.has("out.sigstore.json") || r.has("out.unsigned.json") {
				t.Error("it was signed")
			}
		})
	}
}

// TestRecordIsCancelledWhileItHashes: before the command runs, signals are mlseal's.
func TestRecordIsCancelledWhileItHashes(t *testing.T) {
	r := newRecording(t)
	if err := os.Truncate(filepath.Join(r.dir, "base", "w.bin"), 64<<30); err != nil {
		t.Skip(err)
	}
	cmd, _ := r.process("touch ran")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	_ = cmd.Process.Signal(unix.SIGINT)
	_ = cmd.Wait()
	if status := cmd.ProcessState.ExitCode(); status != statusNotDecided || r.has("ran") {
		t.Errorf("status %d: %s", status, r.printed())
	}
}

// TestRecordRespectsNohup: what ignores SIGHUP goes on, and so does its command.
func TestRecordRespectsNohup(t *testing.T) {
	r := newRecording(t)
	cmd, _ := r.process("mkdir -p out; touch ready; while [ ! -e go ]; do sleep 0.05; done; echo x > out/x")
	cmd.Args = append([]string{"sh", "-c", `trap "" HUP; exec mlseal "$@"`, "sh"}, cmd.Args[1:]...)
	var err error
	if cmd.Path, err = exec.LookPath("sh"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.awaitFile("ready")
	_ = cmd.Process.Signal(unix.SIGHUP)
	time.Sleep(100 * time.Millisecond)
	if err := os.WriteFile(filepath.Join(r.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !r.has("out.sigstore.json") {
		t.Errorf("%v: %s", err, r.printed())
	}
}

// TestRecordDoesNotWaitForDaemons: a process that the command left behind keeps its output open.
func TestRecordDoesNotWaitForDaemons(t *testing.T) {
	r := newRecording(t)
	cmd, _ := r.process("mkdir -p out; echo x > out/x; (while [ ! -e stop ]; do sleep 0.05; done; touch stopped) & exit 0")
	if err := cmd.Run(); err != nil || !r.has("out.sigstore.json") {
		t.Errorf("%v: %s", err, r.printed())
	}
	if r.has("stopped") {
		t.Error("it was waited for")
	}
	if err := os.WriteFile(filepath.Join(r.dir, "stop"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.awaitFile("stopped") // or it would write into a directory that is removed
}

// TestRecordOfMuchOutput: the output does not pass through mlseal, and so takes no room in it.
func TestRecordOfMuchOutput(t *testing.T) {
	r := newRecording(t)
	cmd, _ := r.process("mkdir -p out; echo x > out/x; head -c 1073741824 /dev/zero")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	cmd.Stdout = null
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, r.printed())
	}
	// A process begins with the peak of the one that started it (Linux: exec_mmap keeps the larger of both), which is this one.
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if ok && usage.Maxrss > max(300<<10, own.Maxrss) && usage.Maxrss < 300<<20 {
		t.Errorf("it took %d KiB", usage.Maxrss)
	}
}

// leaks are secrets in the forms that a command line and an environment have, each with what must not be seen.
var leaks = []struct{ secret, arg string }{
	{"planted-aa11", "--api-key=planted-aa11"}, {"planted-bb22", "PASSWORD=planted-bb22"}, {"planted-cc33", "https://me:planted-cc33@host/x"}, {"planted-dd44", "Authorization: Bearer planted-dd44"},
	{"ghp_plantedplantedplanted0123456789", "ghp_plantedplantedplanted0123456789"}, {"hf_plantedplantedplanted0123", "x-hf_plantedplantedplanted0123"}, {"planted%2Bee55", "https://h/c?sv=1&sig=planted%2Bee55"},
	{"planted-ff66", `{"token": "planted-ff66"}`}, {"plantedgg77", "-uuser:plantedgg77"}, {"planted-of-the-environment", "note-planted-of-the-environment"}, {"planted-hh88", "a.b.client_secret=planted-hh88"},
}

// TestRecordLeaksNothing runs the real command with secrets everywhere, and looks at every byte that it wrote.
func TestRecordLeaksNothing(t *testing.T) {
	for _, place := range [][]string{{"--bundle", "out.sigstore.json"}, {"--push", "oci:store:v1"}} {
		r := newRecording(t)
		venv := filepath.Join(r.dir, "venv", "lib", "python3.12", "site-packages", "x-1.dist-info")
		if err := os.MkdirAll(venv, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"METADATA": "Name: x\nVersion: 1\nLicense: planted-of-the-environment\n", "../../../../pyvenv.cfg": ""} {
			if err := os.WriteFile(filepath.Join(venv, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		args := append([]string{"attest", "record", "--step", "convert", "--material", "baseModel=base", "--product", "out", "--key", "k.key", "--report", "report.json", "--env", "MY_*", "--env", "NOTE",
			"--recipe", "https://planted-ii99@host/recipe?token=planted-jj00", "--builder-id", "https://u:planted-kk11@builder"}, place...)
		for i, leak := range leaks {
			args = append(args, "--param", "p"+string(rune('a'+i))+"="+leak.arg)
		}
		args = append(args, "--param", "api_key=planted-ll22", "--", "sh", "-c", "mkdir out; echo x > out/x", "sh", "--password", "planted-mm33")
		for _, leak := range leaks {
			args = append(args, leak.arg)
		}
		ctx, cancel := context.WithTimeout(context.Background(), hangs)
		defer cancel()
		cmd, stderr := command(ctx, r.dir, args...)
		cmd.Env = append(cmd.Env, "MY_SECRET=planted-of-the-environment", "NOTE=it is planted-of-the-environment", "MY_URL=https://u:planted-nn44@h", "VIRTUAL_ENV="+filepath.Join(r.dir, "venv"), "GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=a/b",
			"GITHUB_WORKFLOW_REF=a/b/planted-of-the-environment", "GITHUB_RUN_ID=1")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		if strings.Contains(stderr.String(), "planted") {
			t.Errorf("stderr: %s", stderr)
		}
		signed := 0
		for name, data := range readTree(t, r.dir) {
			if strings.HasPrefix(name, "venv/") {
				continue
			}
			text := decoded(data)
			if strings.Contains(text, "slsa.dev/provenance") && strings.Contains(text, `"***"`) {
				signed++
			}
			if i := strings.Index(text, "planted"); i >= 0 {
				t.Errorf("%s: …%s", name, text[max(0, i-60):min(len(text), i+40)])
			}
			for _, leak := range leaks {
				if strings.Contains(text, leak.secret) {
					t.Errorf("%s holds %s", name, leak.secret)
				}
			}
		}
		if signed == 0 {
			t.Error("no statement was found: the test looks in the wrong place")
		}
	}
}

var inBase64 = regexp.MustCompile(`[A-Za-z0-9+/]{40,}={0,2}`)

// decoded is data, and behind it what is in base64 in it.
func decoded(data []byte) string {
	text := string(data)
	for _, run := range inBase64.FindAllString(text, -1) {
		if inner, err := base64.StdEncoding.DecodeString(run); err == nil {
			text += "\n" + string(inner)
		}
	}
	return text
}

// TestRecordReportsTheStatus: the report tells the command's status from mlseal's own.
func TestRecordReportsTheStatus(t *testing.T) {
	r := newRecording(t)
	cmd, _ := r.process("exit 2", "--report", "report.json")
	_ = cmd.Run()
	data, err := os.ReadFile(filepath.Join(r.dir, "report.json"))
	if err != nil {
		t.Fatalf("%v: %s", err, r.printed())
	}
	var report recordReport
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&report); err != nil || report.CommandStatus != 2 || report.Signed || cmd.ProcessState.ExitCode() != 2 {
		t.Errorf("%v: %s", err, data)
	}
}
