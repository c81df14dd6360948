package record

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"
)

// planted are command lines and what of them must never be seen. The secrets are made up.
var planted = []struct {
	name   string
	secret string
	args   []string
}{
	{"option", "tok-4711-abcdef", []string{"--token", "tok-4711-abcdef"}},
	{"option with =", "tok-4711-abcdef", []string{"--token=tok-4711-abcdef"}},
	{"one dash", "tok4711", []string{"-token", "tok4711"}},
	{"api key", "k3y-of-api", []string{"--api-key", "k3y-of-api"}},
	{"api_key", "k3y-of-api", []string{"--api_key=k3y-of-api"}},
	{"apikey", "k3y-of-api", []string{"--apikey", "k3y-of-api"}},
	{"camel case", "k3y-of-api", []string{"--apiKey", "k3y-of-api"}},
	{"prefixed", "k3y-of-api", []string{"--openai-api-key", "k3y-of-api"}},
	{"hydra", "k3y-of-api", []string{"trainer.logger.api_key=k3y-of-api"}},
	{"hydra +", "k3y-of-api", []string{"+wandb.api_key=k3y-of-api"}},
	{"password", "hunter2", []string{"--password", "hunter2"}},
	{"password short", "ab", []string{"--password", "ab"}},
	{"password with blanks", "correct horse", []string{"--password=correct horse battery"}},
	{"password with a dash", "-x9!kk", []string{"--password", "-x9!kk"}},
	{"passwd", "hunter2", []string{"--db-passwd", "hunter2"}},
	{"passphrase", "open sesame", []string{"--passphrase", "open sesame"}},
	{"variable", "hunter2", []string{"env", "PASSWORD=hunter2", "python", "t.py"}},
	{"PGPASSWORD", "hunter2", []string{"env", "PGPASSWORD=hunter2"}},
	{"HF_TOKEN", "secret-of-hf", []string{"env", "HF_TOKEN=secret-of-hf"}},
	{"secret key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", []string{"AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}},
	{"access key id", "AKIAIOSFODNN7EXAMPLE", []string{"--id", "AKIAIOSFODNN7EXAMPLE"}},
	{"session key id", "ASIAIOSFODNN7EXAMPLE", []string{"x=ASIAIOSFODNN7EXAMPLE"}},
	{"-p", "s3cr3tword", []string{"sshpass", "-p", "s3cr3tword", "ssh", "host"}},
	{"-pX", "s3cr3tword", []string{"mysql", "-ps3cr3tword"}},
	{"-u user:password", "s3cr3t", []string{"curl", "-u", "me:s3cr3t", "https://host"}},
	{"-uuser:password", "s3cr3t", []string{"curl", "-ume:s3cr3t", "https://host"}},
	{"-uuser:password in a shell", "s3cr3t", []string{"sh", "-c", "curl -ume:s3cr3t https://host"}},
	{"--user in a shell", "s3cr3t", []string{"sh", "-c", "curl --user me:s3cr3t https://host"}},
	{"URL", "s3cr3t", []string{"https://me:s3cr3t@host/path"}},
	{"URL with a token as the user", "s3cr3ttoken", []string{"https://s3cr3ttoken@host/path"}},
	{"URL with a slash in the password", "s3c/r3t", []string{"postgres://me:s3c/r3t@host/db"}},
	{"URL with an at sign", "s3c@r3t", []string{"postgres://me:s3c@r3t@host/db"}},
	{"postgres", "s3cr3t", []string{"--dsn=postgres://me:s3cr3t@host:5432/db"}},
	{"redis without a user", "s3cr3t", []string{"redis://:s3cr3t@host:6379/0"}},
	{"mongodb", "s3cr3t", []string{"--uri", "mongodb+srv://me:s3cr3t@cluster.example/db"}},
	{"bearer", "abcdef123456", []string{"-H", "Authorization: Bearer abcdef123456"}},
	{"basic", "bWU6czNjcjN0", []string{"-H", "authorization: basic bWU6czNjcjN0"}},
	{"header of one's own", "abc123def", []string{"-H", "X-Api-Key: abc123def"}},
	{"GitLab's header", "abc123def", []string{"--header", "PRIVATE-TOKEN: abc123def"}},
	{"cookie", "abc123def", []string{"-H", "Cookie: session=abc123def"}},
	{"shell", "abc123def", []string{"bash", "-c", "export TOKEN=abc123def; python t.py"}},
	{"shell with quotes", "abc 123 def", []string{"bash", "-c", "export TOKEN='abc 123 def'; python t.py"}},
	{"shell with an option", "abc123def", []string{"bash", "-c", "python t.py --token abc123def --epochs 3"}},
	{"JSON", "abc123def", []string{`{"api_key": "abc123def", "epochs": 3}`}},
	{"JSON in JSON", "abc123def", []string{`{"a": "{\"password\": \"abc123def\"}"}`}},
	{"YAML", "abc123def", []string{"password: abc123def"}},
	{"GitHub", "ghp_0123456789abcdefABCDEF0123456789abcd", []string{"x", "ghp_0123456789abcdefABCDEF0123456789abcd"}},
	{"GitHub fine-grained", "github_pat_11ABCDEFG0aBcDeFgHiJkL_mnop", []string{"github_pat_11ABCDEFG0aBcDeFgHiJkL_mnop"}},
	{"GitHub Actions", "ghs_0123456789abcdefABCDEF0123456789abcd", []string{"ghs_0123456789abcdefABCDEF0123456789abcd"}},
	{"GitLab", "glpat-abcdefghij0123456789", []string{"clone", "glpat-abcdefghij0123456789"}},
	{"Hugging Face", "hf_abcdefghijABCDEFGHIJ0123456789abcd", []string{"download", "hf_abcdefghijABCDEFGHIJ0123456789abcd"}},
	{"OpenAI", "sk-proj-abcdefghijABCDEFGHIJ0123", []string{"sk-proj-abcdefghijABCDEFGHIJ0123"}},
	{"Anthropic", "sk-ant-api03-abcdefghij_ABCDEFGHIJ", []string{"sk-ant-api03-abcdefghij_ABCDEFGHIJ"}},
	{"Slack", "xoxb-123456789012-abcdefABCDEF", []string{"xoxb-123456789012-abcdefABCDEF"}},
	{"Slack's hooks", "T00000000/B00000000/abcdef", []string{"https://hooks.slack.com/services/T00000000/B00000000/abcdef"}},
	{"Google's keys", "AIzaSyA0123456789abcdefghijklmnopqrstuv", []string{"AIzaSyA0123456789abcdefghijklmnopqrstuv"}},
	{"Google's tokens", "ya29.a0AfH6SMBabcdefghij", []string{"ya29.a0AfH6SMBabcdefghij"}},
	{"npm", "npm_abcdefghijABCDEFGHIJ0123456789abcdef", []string{"npm_abcdefghijABCDEFGHIJ0123456789abcdef"}},
	{"PyPI", "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw", []string{"pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAw"}},
	{"Docker", "dckr_pat_abcdefghij0123456789ABCDE", []string{"dckr_pat_abcdefghij0123456789ABCDE"}},
	{"JWT", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk", []string{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk"}},
	{"private key", "MIGHAgEAMBMGByqGSM49", []string{"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n"}},
	{"private key, cut off", "MIGHAgEAMBMGByqGSM49", []string{"-----BEGIN RSA PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49"}},
	{"Weights & Biases", "0123456789abcdef0123456789abcdef01234567", []string{"WANDB_API_KEY=0123456789abcdef0123456789abcdef01234567"}},
	{"Weights & Biases, login", "0123456789abcdef0123456789abcdef01234567", []string{"wandb", "login", "0123456789abcdef0123456789abcdef01234567"}},
	{"query", "abc123def", []string{"https://host/path?user=me&token=abc123def"}},
	{"shared access signature", "abc%2Bdef%3D", []string{"https://acct.blob.core.windows.net/c?sv=2024&sig=abc%2Bdef%3D"}},
	{"signed URL of Amazon", "0123abcd4567", []string{"https://b.s3.amazonaws.com/k?X-Amz-Credential=x&X-Amz-Signature=0123abcd4567"}},
	{"signed URL of Google", "0123abcd4567", []string{"https://storage.googleapis.com/b/k?X-Goog-Signature=0123abcd4567"}},
	{"Azure's account key", "Zm9vYmFyYmF6+/==", []string{"DefaultEndpointsProtocol=https;AccountName=a;AccountKey=Zm9vYmFyYmF6+/==;EndpointSuffix=core.windows.net"}},
	{"ODBC", "s3cr3t", []string{"Server=db;Uid=me;Pwd=s3cr3t;"}},
	{"client secret", "abc8Q~def", []string{"--client-secret", "abc8Q~def"}},
	{"Databricks", "dapi0123456789abcdef0123456789abcdef", []string{"dapi0123456789abcdef0123456789abcdef"}},
	{"Vault", "hvs.CAESIabcdefghijABCDEFGHIJ", []string{"hvs.CAESIabcdefghijABCDEFGHIJ"}},
	{"random", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0", []string{"x", "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0"}},
	{"list in JSON", "planted2", []string{`{"api_key":["planted1","planted2"]}`}},
	{"tokens in JSON", "planted2", []string{`{"api_keys":["planted1", "planted2"]}`}},
	{"object in JSON", "planted2", []string{`{"credentials":{"x":"planted2"}}`}},
	{"no scheme", "s3cr3t", []string{"rsync", "me:s3cr3t@host.example/path"}},
	{"variable in front", "planted1", []string{"setx", "WANDB_API_KEY", "planted1"}},
	{"percent", "planted1", []string{"https://host/?q=token%3Dplanted1"}},
	{"XML", "planted1", []string{"<password>planted1</password>"}},
	{"sshpass in a shell", "planted1", []string{"sh", "-c", "sshpass -pplanted1 ssh host"}},
	{"Python item", "planted1", []string{"-c", `os.environ['HF_TOKEN']='planted1'`}},
	{"Python item with blanks", "planted1", []string{"-c", `os.environ["HF_TOKEN"] = "planted1"`}},
	{"call with a pair", "planted1", []string{"-c", `os.putenv("API_KEY", "planted1")`}},
	{"arguments as JSON", "planted1", []string{`["--token","planted1"]`}},
	{"Go", "planted1", []string{`password := "planted1"`}},
	{"Ruby", "planted1", []string{`:password => "planted1"`}},
	{"comparison", "planted1", []string{`if password == "planted1": pass`}},
	{"the same with a user in base64", base64.StdEncoding.EncodeToString([]byte("me:value-of-the-environment")), []string{base64.StdEncoding.EncodeToString([]byte("me:value-of-the-environment"))}},
	{"the same in hexadecimal", hex.EncodeToString([]byte("value-of-the-environment")), []string{hex.EncodeToString([]byte("value-of-the-environment"))}},
	{"the password of a URL of the environment", "proxy/pass", []string{"--note", "it is proxy/pass"}},
	{"a second time", "hunter2hunter2", []string{"--password", "hunter2hunter2", "--note", "it-is-hunter2hunter2-again"}},
	{"a value of the environment", "value-of-the-environment", []string{"--note", "value-of-the-environment"}},
	{"the same in a word", "value-of-the-environment", []string{"x,value-of-the-environment.y"}},
	{"the same in base64", base64.StdEncoding.EncodeToString([]byte("value-of-the-environment")), []string{base64.StdEncoding.EncodeToString([]byte("value-of-the-environment"))}},
	{"the same in a URL", url.QueryEscape("pass word/+of env"), []string{"https://host/" + url.QueryEscape("pass word/+of env")}},
}

var plantedEnvironment = []string{"MY_SERVICE_TOKEN=value-of-the-environment", "DB_PASSWORD=pass word/+of env", "HTTPS_PROXY=http://me:proxy%2Fpass@proxy:3128", "EPOCHS=3", "HOME=/home/me", "SHORT_SECRET=a"}

func TestPlantedSecretsAreMasked(t *testing.T) {
	if len(planted) < 50 {
		t.Fatal("too few")
	}
	m := NewMask(plantedEnvironment)
	for _, tc := range planted {
		if !strings.Contains(strings.Join(tc.args, "\x00"), tc.secret) {
			t.Errorf("%s: the secret is not in the arguments", tc.name)
		}
		got := strings.Join(m.Args(tc.args), " ")
		if strings.Contains(got, tc.secret) || !strings.Contains(got, masked) {
			t.Errorf("%s: %q", tc.name, got)
		}
		if len(tc.args) == 1 { // the same as a parameter
			if got := m.Named("note", tc.args[0]); strings.Contains(got, tc.secret) {
				t.Errorf("%s: as a parameter: %q", tc.name, got)
			}
		}
	}
}

func TestMaskLeavesTheRest(t *testing.T) {
	m := NewMask(plantedEnvironment)
	sha, commit := strings.Repeat("0123456789abcdef", 4), "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d"
	for _, args := range [][]string{
		{"python", "train.py", "--epochs", "3", "--lr=2e-5", "--seed", "42"},
		{"--max-tokens", "512"}, {"--max_new_tokens=512"}, {"--tokenizer", "./tok"}, {"--eos-token", "</s>"}, {"--pad_token_id", "0"}, {"--eos-token-id=2"}, {"--token-limit", "9"},
		{"--special-tokens=a,b"}, {"sha256:" + sha}, {"oci:store@sha256:" + sha}, {"registry.example:5000/models/bot:v1@sha256:" + sha}, {"oci://registry.example:5000/bot@sha256:" + sha},
		{"file:model@v2"}, {"oci:store@v1"}, {"name:tag@blake3:" + sha}, {"name:tag@sha512:" + sha + sha}, {"hf://org/repo@" + commit}, {"--revision", commit}, {"https://host/path?epochs=3"}, {"oci:store:v1@sha256:" + sha}, {"bot:v1@sha256:" + sha}, {"git@github.com:acme/llm.git"}, {"-u", "https://host/x"}, {"git push -u https://host/x"}, {"ssh://git@github.com/acme/llm"}, {"--port", "8080"}, {"-p", "8080"},
		{"--model", "meta-llama/Meta-Llama-3-8B-Instruct"}, {"--secret-file", "/run/secrets/x"}, {"-m", "torch.distributed.run"}, {"--nproc_per_node=8"}, {"a: b"}, {"--use-auth-token", "--epochs", "3"},
		{"--attention=flash"}, {"--author", "me"}, {"--monkey", "x"}, {"--keys", "a,b"}, {"550e8400-e29b-41d4-a716-446655440000"}, {"--password-file=p"}, {"--pin-memory", "true"}, {"pin_memory=True"}, {"--pass-rate=0.5"},
	} {
		if got := m.Args(args); strings.Join(got, " ") != strings.Join(args, " ") {
			t.Errorf("%q became %q", args, got)
		}
	}
	if got := m.Named("HOME", "/home/me"); got != "/home/me" {
		t.Errorf("HOME: %q", got)
	}
	for _, name := range []string{"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "MYSQL_PWD", "GH_PAT", "NPM_AUTH", "OPENAI_KEY", "wandbApiKey", "SESSION_COOKIE", "githubtoken"} {
		if got := m.Named(name, "x"); got != masked {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzMask(f *testing.F) {
	for _, tc := range planted {
		f.Add(strings.Join(tc.args, " "))
	}
	m := NewMask(plantedEnvironment)
	f.Fuzz(func(t *testing.T, text string) {
		once := m.Text(text)
		if strings.Contains(once, "value-of-the-environment") {
			t.Errorf("%q", once)
		}
		_ = m.Args(strings.Fields(text))
		if got := m.Named("api_key", text); text != "" && got != masked {
			t.Errorf("%q", got)
		}
		// What stands behind a name is masked whatever stands in front.
		if got := m.Text(text + " --password=qqqqqqqq7"); strings.HasSuffix(got, "qqqqqqqq7") && !strings.ContainsAny(text, "\"'") {
			t.Errorf("%q", got)
		}
	})
}
