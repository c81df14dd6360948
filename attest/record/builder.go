package record

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io/fs"
	"strings"
)

// The builders that are named where nothing else says who builds. There is one builder.id for each way in which the builder is trusted.
const (
	LocalBuilder      = "https://mlseal.dev/builders/local/v1"
	KubernetesBuilder = "https://mlseal.dev/builders/kubernetes/v1"
)

// namespaceFile is where Kubernetes writes a pod's namespace, below the root of the file system.
const namespaceFile = "var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Builder is who ran the command, as the environment says. Whoever sets the environment can say anything: what is trusted is the
// signature.
type Builder struct {
	ID         string
	Invocation string
	Details    map[string]string // what else the platform says of the run
}

// variables is an environment to look things up in.
type variables map[string]string

func parseEnviron(environ []string) variables {
	v := variables{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			v[name] = value
		}
	}
	return v
}

// pick is those of the variables that are set, under other names.
func (v variables) pick(names map[string]string) map[string]string {
	out := map[string]string{}
	for name, as := range names {
		if v[name] != "" {
			out[as] = v[name]
		}
	}
	return out
}

// detectBuilder looks for GitHub Actions, GitLab CI and Kubernetes, in this order: runners of the first two may stand in pods.
func detectBuilder(v variables, root fs.FS) Builder {
	switch {
	case v["GITHUB_ACTIONS"] == "true" && v["GITHUB_REPOSITORY"] != "":
		return gitHub(v)
	case v["GITLAB_CI"] == "true" && v["CI_PROJECT_PATH"] != "":
		return gitLab(v)
	case v["KUBERNETES_SERVICE_HOST"] != "":
		return kubernetes(v, root)
	}
	return Builder{ID: LocalBuilder, Invocation: randomUUID()}
}

// gitHub names the workflow, without the ref at which it stood, which the certificate of a keyless signature proves better. A runner of
// one's own is another builder.
//
// https://docs.github.com/en/actions/reference/workflows-and-actions/variables
func gitHub(v variables) Builder {
	server := cmp.Or(v["GITHUB_SERVER_URL"], "https://github.com")
	workflow, _, _ := strings.Cut(v["GITHUB_WORKFLOW_REF"], "@")
	b := Builder{ID: server + "/" + cmp.Or(workflow, v["GITHUB_REPOSITORY"])}
	if v["RUNNER_ENVIRONMENT"] != "github-hosted" {
		b.ID += "#self-hosted"
	}
	b.Invocation = fmt.Sprintf("%s/%s/actions/runs/%s/attempts/%s", server, v["GITHUB_REPOSITORY"], v["GITHUB_RUN_ID"], cmp.Or(v["GITHUB_RUN_ATTEMPT"], "1"))
	b.Details = v.pick(map[string]string{"GITHUB_WORKFLOW_REF": "workflowRef", "GITHUB_WORKFLOW_SHA": "workflowCommit", "GITHUB_SHA": "commit", "GITHUB_REF": "ref", "GITHUB_EVENT_NAME": "event",
		"GITHUB_REPOSITORY_ID": "repositoryId", "GITHUB_REPOSITORY_OWNER_ID": "repositoryOwnerId", "RUNNER_ENVIRONMENT": "runnerEnvironment", "GITHUB_JOB": "job"})
	b.Details["platform"] = "github-actions"
	return b
}

// gitLab names the project and its pipeline's file, in the form of the claim ci_config_ref_uri without the ref.
//
// https://docs.gitlab.com/ci/variables/predefined_variables/
func gitLab(v variables) Builder {
	project := cmp.Or(v["CI_PROJECT_URL"], v["CI_SERVER_URL"]+"/"+v["CI_PROJECT_PATH"])
	b := Builder{ID: project + "//" + cmp.Or(v["CI_CONFIG_PATH"], ".gitlab-ci.yml")}
	b.Invocation = cmp.Or(v["CI_JOB_URL"], project+"/-/jobs/"+v["CI_JOB_ID"])
	b.Details = v.pick(map[string]string{"CI_PIPELINE_ID": "pipeline", "CI_JOB_ID": "job", "CI_COMMIT_SHA": "commit", "CI_COMMIT_REF_NAME": "ref", "CI_PIPELINE_SOURCE": "event", "CI_PROJECT_ID": "projectId",
		"CI_RUNNER_ID": "runner", "CI_RUNNER_DESCRIPTION": "runnerDescription", "CI_SHARED_ENVIRONMENT": "sharedEnvironment", "CI_DISPOSABLE_ENVIRONMENT": "disposableEnvironment"})
	b.Details["platform"] = "gitlab-ci"
	return b
}

// kubernetes names the pod. The service account and the pod's name are known when the pod's specification puts them into the
// environment; the account's token, which says it too, is a secret and not read.
func kubernetes(v variables, root fs.FS) Builder {
	namespace := cmp.Or(v["POD_NAMESPACE"], firstLine(root, namespaceFile))
	pod := cmp.Or(v["POD_NAME"], v["HOSTNAME"])
	b := Builder{ID: KubernetesBuilder, Invocation: "kubernetes:" + namespace + "/" + pod, Details: map[string]string{"platform": "kubernetes"}}
	if pod == "" {
		b.Invocation = randomUUID()
	}
	for name, value := range map[string]string{"namespace": namespace, "pod": pod, "serviceAccount": cmp.Or(v["POD_SERVICE_ACCOUNT"], v["SERVICE_ACCOUNT"]), "node": v["NODE_NAME"]} {
		if value != "" {
			b.Details[name] = value
		}
	}
	return b
}

// randomUUID is a URN with a UUID of version 4 (RFC 9562).
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
