package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
)

// shellBlock FILE OUT writes the first block of shell commands of a page to OUT.
func shellBlock(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shellblock FILE OUT")
	}
	_, rest, found := strings.Cut(ts.ReadFile(args[0]), "\n```sh\n")
	block, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !ended {
		ts.Fatalf("%s has no block of shell commands", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(block+"\n"), 0o644))
}

// kubernetesJob is what is looked at of a Job.
type kubernetesJob struct {
	Kind     string
	Metadata struct{ Name string }
	Spec     struct {
		CompletionMode string `yaml:"completionMode"`
		Completions    int
		Template       struct {
			Spec struct {
				Containers []struct {
					Command, Args []string
					Env           []struct{ Name, Value string }
				}
			}
		}
	}
}

// env is the value of a variable of the job's container.
func (j kubernetesJob) env(name string) string {
	for _, v := range j.Spec.Template.Spec.Containers[0].Env {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// kubernetesJobs reads the jobs of a file, by name.
func kubernetesJobs(text string) (map[string]kubernetesJob, error) {
	jobs := map[string]kubernetesJob{}
	dec := yaml.NewDecoder(strings.NewReader(text))
	for {
		var job kubernetesJob
		err := dec.Decode(&job)
		switch {
		case err == io.EOF:
			return jobs, nil
		case err != nil:
			return nil, err
		case job.Kind != "Job" || len(job.Spec.Template.Spec.Containers) != 1:
			return nil, fmt.Errorf("%s %s is no Job of one container", job.Kind, job.Metadata.Name)
		case job.Spec.Completions > 0 && (job.Spec.CompletionMode != "Indexed" || strconv.Itoa(job.Spec.Completions) != job.env("PARTS")):
			return nil, fmt.Errorf("%s has %d completions (%s), and PARTS is %s", job.Metadata.Name, job.Spec.Completions, job.Spec.CompletionMode, job.env("PARTS"))
		}
		jobs[job.Metadata.Name] = job
	}
}

// containers FILE [JOB OUT]... writes what the container of a Kubernetes Job runs to a script.
func containers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args)%2 != 1 {
		ts.Fatalf("usage: containers FILE [JOB OUT]...")
	}
	jobs, err := kubernetesJobs(ts.ReadFile(args[0]))
	ts.Check(err)
	for rest := args[1:]; len(rest) > 0; rest = rest[2:] {
		c := jobs[rest[0]].Spec.Template.Spec.Containers
		if len(c) != 1 || strings.Join(c[0].Command, " ") != "/bin/sh -euc" || len(c[0].Args) != 1 {
			ts.Fatalf("%s: %s does not run one script with /bin/sh -euc", args[0], rest[0])
		}
		ts.Check(os.WriteFile(ts.MkAbs(rest[1]), []byte(c[0].Args[0]), 0o644))
	}
}

// each NAME FIRST LAST COMMAND... runs a command with the variable NAME set to each number, the last one first.
func each(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: each NAME FIRST LAST COMMAND...")
	}
	first, err1 := strconv.Atoi(args[1])
	last, err2 := strconv.Atoi(args[2])
	ts.Check(errors.Join(err1, err2))
	for i := last; i >= first; i-- {
		ts.Setenv(args[0], strconv.Itoa(i))
		ts.Check(ts.Exec(args[3], args[4:]...))
	}
}
