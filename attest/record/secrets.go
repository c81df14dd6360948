package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// masked stands where a secret stood.
const masked = "***"

// minSecret is the length in bytes from which on the value of a secret is looked for everywhere else too. A shorter one would
// hide half of the text.
const minSecret = 6

// Mask removes secrets from text that goes into a record. It knows them by the name beside them (--api-key X, PASSWORD=X), by their
// form (tokens of the usual services, private keys, credentials in URLs), and by their value, when a variable of the environment
// with such a name has it. What has none of these stays: a mask is a net, no proof. The zero value knows no values.
type Mask struct {
	secrets []string // as they are
	values  []string // in all their forms, longest first
}

// NewMask returns a mask that knows the values of the secrets in the environment, which is written as os.Environ does.
func NewMask(environ []string) *Mask {
	m := &Mask{}
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if ok && secretName(name) {
			m.know(value)
		}
		for _, at := range urlPassword.FindAllStringSubmatch(value, -1) { // DATABASE_URL, HTTPS_PROXY
			m.know(at[1])
			if plain, err := url.PathUnescape(at[1]); err == nil {
				m.know(plain)
			}
		}
	}
	m.sort()
	return m
}

// know looks for the value from now on, also as it is written in URLs, in base64 and line by line.
func (m *Mask) know(value string) {
	value = strings.TrimSpace(value)
	if len(value) < minSecret {
		return
	}
	m.secrets = append(m.secrets, value)
	m.values = append(m.values, value, url.QueryEscape(value), url.PathEscape(value), hex.EncodeToString([]byte(value)),
		base64.StdEncoding.EncodeToString([]byte(value)), base64.URLEncoding.EncodeToString([]byte(value)))
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= 2*minSecret {
				m.values = append(m.values, line)
			}
		}
	}
}

// maskEncoded masks base64 of a text with a secret in it, such as user:password.
func (m *Mask) maskEncoded(run string) string {
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(run, "="))
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err == nil && slices.ContainsFunc(m.secrets, func(secret string) bool { return bytes.Contains(data, []byte(secret)) }) {
		return masked
	}
	return run
}

func (m *Mask) sort() {
	slices.SortFunc(m.values, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	m.values = slices.Compact(m.values)
}

// Named is a value that has a name, such as a variable of the environment or a parameter.
func (m *Mask) Named(name, value string) string {
	if value != "" && secretName(name) {
		return masked
	}
	return m.Text(value)
}

// Text is any text: one argument, a shell command, a URL.
func (m *Mask) Text(s string) string {
	for _, value := range m.values {
		s = strings.ReplaceAll(s, value, masked)
	}
	if len(m.secrets) > 0 {
		s = encoded.ReplaceAllStringFunc(s, m.maskEncoded)
	}
	s = privateKey.ReplaceAllString(s, masked)
	s = maskUserinfo(s)
	s = header.ReplaceAllString(s, "${1}"+masked)
	s = scheme.ReplaceAllString(s, "${1}"+masked)
	s = userPassword.ReplaceAllString(s, "${1}"+masked)
	s = wandbLogin.ReplaceAllString(s, "${1}"+masked)
	s = userHost.ReplaceAllStringFunc(s, maskUserHost)
	s = sshpass.ReplaceAllString(s, "${1}"+masked)
	s = maskNamed(s, assignment)
	s = maskNamed(s, pair)
	s = maskNamed(s, element)
	s = maskNamed(s, option)
	s = maskNamed(s, query)
	for _, form := range tokens {
		s = form.ReplaceAllString(s, masked)
	}
	return random.ReplaceAllStringFunc(s, func(run string) string {
		if looksRandom(run) {
			return masked
		}
		return run
	})
}

// Args is a command line. The secret may stand in an argument of its own behind its name.
func (m *Mask) Args(args []string) []string {
	m = m.learned(args)
	out := make([]string, len(args))
	for i, arg := range args {
		before := ""
		if i > 0 {
			before = args[i-1]
		}
		out[i] = m.arg(before, arg)
		if i > 1 && strings.HasSuffix(args[i-2], "wandb") && before == "login" && !strings.HasPrefix(arg, "-") {
			out[i] = masked
		}
	}
	return out
}

func (m *Mask) arg(before, arg string) string {
	option, isOption := optionName(before)
	name, _, assigned := strings.Cut(arg, "=")
	switch {
	case longOption.MatchString(arg) && !assigned:
		return m.Text(arg) // a value does not look like this, and the option in front of it is a switch
	case variable.MatchString(before) && secretName(before): // setx API_KEY x
		return masked
	case isOption && secretName(option), isOption && option == "p" && !port.MatchString(arg):
		return masked
	case isOption && slices.Contains([]string{"u", "user", "proxy-user", "U"}, option) && strings.Contains(arg, ":") && !strings.Contains(arg, "://"):
		user, _, _ := strings.Cut(arg, ":")
		return m.Text(user) + ":" + masked
	case assigned && secretName(strings.TrimLeft(name, "-+")) && !strings.ContainsAny(name, " \t\n\"'?&:/"):
		return name + "=" + masked
	case shortPassword.MatchString(arg):
		return "-p" + masked
	case shortUser.MatchString(arg):
		user, _, _ := strings.Cut(arg, ":")
		return user + ":" + masked
	}
	return m.Text(arg)
}

// learned also knows the secrets that stand in the command line, when they look like no path and no word: they may stand a second
// time where nothing tells them.
func (m *Mask) learned(args []string) *Mask {
	more := &Mask{secrets: slices.Clone(m.secrets), values: slices.Clone(m.values)}
	for i, arg := range args {
		name, value, ok := strings.Cut(strings.TrimLeft(arg, "-+"), "=")
		if !ok && i > 0 {
			var isOption bool
			if name, isOption = optionName(args[i-1]); !isOption {
				continue
			}
			value = arg
		}
		if secretName(name) && looksSecret(value) {
			more.know(value)
		}
	}
	more.sort()
	return more
}

// looksSecret tells a password from the names of files and the words that also stand behind options.
func looksSecret(value string) bool {
	if len(value) < minSecret+2 || strings.ContainsAny(value, `/\ `) || path.Ext(value) != "" {
		return false
	}
	if _, err := os.Lstat(value); err == nil {
		return false
	}
	return strings.ContainsAny(value, "0123456789") && strings.ContainsFunc(value, unicode.IsLetter)
}

// optionName is the name in --name or -n.
func optionName(arg string) (string, bool) {
	name := strings.TrimLeft(arg, "-")
	return name, name != arg && name != "" && !strings.ContainsAny(arg, "= \t\n")
}

var (
	variable      = lazyregexp.New(`^[A-Z][A-Z0-9_]*$`)
	longOption    = lazyregexp.New(`^--[a-zA-Z][a-zA-Z0-9-]*(=.*)?$`)
	port          = lazyregexp.New(`^[0-9]{1,5}(:[0-9]{1,5})?$`)
	shortPassword = lazyregexp.New(`^-p[^-=/.,:\s]{4,}$`) // mysql -psecret
	shortUser     = lazyregexp.New(`^-u[^:/=\s]+:[^/\s]`)

	urlPassword = lazyregexp.New(`://[^\s:/@]*:([^\s/@]+)@`)
	encoded     = lazyregexp.New(`[A-Za-z0-9+/_-]{8,}={0,2}`)

	privateKey   = lazyregexp.New(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|$)`)
	header       = lazyregexp.New(`(?i)(\b(?:proxy-)?authorization["']?\s*[:=]\s*|\b(?:set-)?cookie["']?\s*:\s*|\bx-[a-z-]*(?:token|key|auth|signature|secret)["']?\s*:\s*|\b(?:private|job|deploy)-token["']?\s*:\s*)[^"'\r\n]+`)
	scheme       = lazyregexp.New(`(?i)(\b(?:bearer|basic)\s+)[a-z0-9._~+/=:-]{6,}`)
	userPassword = lazyregexp.New(`((?:^|\s)(?:-u|--user|--proxy-user)[\s=]*["']?[^\s:"'=]+:)[^\s"'/][^\s"']*`)
	userHost     = lazyregexp.New(`[A-Za-z0-9._%+-]+:[^\s:@/"'=]+@[A-Za-z][A-Za-z0-9.-]*:?`)
	algorithm    = lazyregexp.New(`^(?:sha|blake)[0-9a-z]+:$`)
	sshpass      = lazyregexp.New(`(\bsshpass\s+-p\s*)["']?[^\s"']+`)
	wandbLogin   = lazyregexp.New(`(\bwandb\s+login\s+(?:--\S+\s+)*)[^\s-][^\s]*`)

	// Each has a part in front, a name, a part between and a value.
	value      = `(\\+"[^"]*"?|"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s"',;&|)}\]]+)`
	assignment = lazyregexp.New(`()([A-Za-z_][A-Za-z0-9_.-]*)(\\?["']?\]?\s*(?::=|=>|==|=|:|%3[aAdD])\s*)` + strings.Replace(value, `(`, `([\[{(][^\]})]*[\]})]?|`, 1))
	pair       = lazyregexp.New(`()([A-Za-z_][A-Za-z0-9_.-]*)(\\*["']\s*,\s*)(\\+"[^"]*"?|"(?:[^"\\]|\\.)*"?|'[^']*'?)`) // setenv("API_KEY", "x"), ["--token", "x"]
	element    = lazyregexp.New(`(<)([A-Za-z_][A-Za-z0-9_.-]*)(>\s*)([^<\s][^<]*)`)
	option     = lazyregexp.New(`((?:^|[\s"'(])-{1,2})([A-Za-z][A-Za-z0-9_.-]*)(\s+)` + value)
	query      = lazyregexp.New(`([?&;])([^=&;\s?]+)(=)([^&\s"'#]+)`)

	// tokens are the forms of secrets of services that are used where models are made.
	tokens = compiledLater(
		`\bgh[pousr]_[A-Za-z0-9]{16,}`, `\bgithub_pat_[A-Za-z0-9_]{20,}`, // GitHub
		`\bgl(?:pat|ptt|dt|rt|cbt|soat|ft|agent|oas|imt|ffct)-[A-Za-z0-9_.-]{16,}`, `\bGR1348941[A-Za-z0-9_-]{16,}`, // GitLab
		`\bhf_[A-Za-z0-9]{16,}`, `\bapi_org_[A-Za-z0-9]{16,}`, // Hugging Face
		`\bsk-[A-Za-z0-9_-]{16,}`, `\bsk_(?:live|test)_[A-Za-z0-9]{10,}`, `\brk_(?:live|test)_[A-Za-z0-9]{10,}`, `\bsess-[A-Za-z0-9]{20,}`, `\bgsk_[A-Za-z0-9]{20,}`, `\br8_[A-Za-z0-9]{20,}`, // OpenAI, Anthropic, Stripe, Groq, Replicate
		`\bxox[abeoprs]-[A-Za-z0-9-]{8,}`, `\bxapp-[A-Za-z0-9-]{8,}`, `hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/_-]+`, // Slack
		`\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b`,                                                                  // Amazon
		`\bAIza[A-Za-z0-9_-]{30,}`, `\bya29\.[A-Za-z0-9_.-]{10,}`, `\b1//0[A-Za-z0-9_-]{20,}`, `\bGOCSPX-[A-Za-z0-9_-]{16,}`, // Google
		`\bnpm_[A-Za-z0-9]{20,}`, `\bpypi-[A-Za-z0-9_-]{16,}`, `\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{16,}`, `\brubygems_[a-f0-9]{20,}`, // package registries
		`\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*`, // JSON Web Tokens
		`\bdop_v1_[a-f0-9]{20,}`, `\bdapi[a-f0-9]{32}(?:-[0-9])?\b`, `\bhv[sbr]\.[A-Za-z0-9_-]{16,}`, `\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`, // DigitalOcean, Databricks, Vault, SendGrid
		`\bAGE-SECRET-KEY-1[A-Z0-9]{20,}`, `\b[a-zA-Z0-9_~.-]{3}8Q~[a-zA-Z0-9_~.-]{20,}`, // age, Entra ID
	)

	random = lazyregexp.New(`[A-Za-z0-9]{30,}`)
)

func compiledLater(patterns ...string) []*lazyregexp.Regexp {
	all := make([]*lazyregexp.Regexp, len(patterns))
	for i, p := range patterns {
		all[i] = lazyregexp.New(p)
	}
	return all
}

// maskNamed masks the value where the name is one of a secret.
func maskNamed(s string, form *lazyregexp.Regexp) string {
	var b strings.Builder
	for {
		at := form.FindStringSubmatchIndex(s)
		if at == nil {
			b.WriteString(s)
			return b.String()
		}
		name, found := s[at[4]:at[5]], s[at[8]:at[9]]
		isURL := strings.HasPrefix(found, "//") // scheme://host
		hides := !isURL && (secretName(name) || form == query && slices.Contains(queryNames, strings.ToLower(name)))
		if form == option && longOption.MatchString(found) {
			hides = false
		}
		if hides {
			b.WriteString(s[:at[8]] + masked)
			s = s[at[9]:]
			continue
		}
		// What is no secret's name may be in front of one: a=password=x.
		b.WriteString(s[:at[7]])
		s = s[at[7]:]
	}
}

// queryNames are parameters of URLs that carry secrets under names that are none elsewhere.
var queryNames = []string{"sig", "se_sig", "signature", "code", "key", "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "x-goog-credential",
	"awsaccesskeyid", "googleaccessid", "access_token", "id_token", "refresh_token", "assertion", "client_assertion"}

// schemes stand in front of a name that is no user's.
var schemes = []string{"file", "oci", "oci-archive", "hf", "npm", "pkg", "mailto"}

// maskUserHost masks the password in user:password@host, but neither the tag in name:tag@sha256:digest nor the path in file:model@v2.
func maskUserHost(s string) string {
	user, rest, _ := strings.Cut(s, ":")
	_, host, _ := strings.Cut(rest, "@")
	if algorithm.MatchString(host) || slices.Contains(schemes, user) {
		return s
	}
	return user + ":" + masked + "@" + host
}

var withUserinfo = lazyregexp.New(`([A-Za-z][A-Za-z0-9+.-]*://)([^\s"'<>]*)`)

// maskUserinfo masks user:password@ in front of the host of URLs. A user's name without a password can be a token as well.
func maskUserinfo(s string) string {
	return withUserinfo.ReplaceAllStringFunc(s, func(whole string) string {
		at := strings.Index(whole, "://") + len("://")
		start, rest := whole[:at], whole[at:]
		authority, _, _ := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(authority, '@'); i >= 0 {
			if authority[:i] == "git" {
				return whole // the user of everybody, as in ssh://git@host
			}
			return start + masked + rest[i:]
		}
		// A password may hold a slash, which no URL allows and many programs do: user:pa/ss@host. A port is no password.
		_, behind, ok := strings.Cut(authority, ":")
		if i := strings.LastIndexByte(rest, '@'); ok && i >= 0 && !port.MatchString(behind) {
			return start + masked + rest[i:]
		}
		return whole
	})
}

// looksRandom tells a secret from a name: upper-case, lower-case and digits all over. Digests and commits are hexadecimal in one case.
func looksRandom(run string) bool {
	var changes, upper, lower, digits int
	last := 0
	for _, r := range run {
		class := 0
		switch {
		case unicode.IsUpper(r):
			class, upper = 1, upper+1
		case unicode.IsLower(r):
			class, lower = 2, lower+1
		default:
			class, digits = 3, digits+1
		}
		if last != 0 && class != last {
			changes++
		}
		last = class
	}
	return upper > 2 && lower > 2 && digits > 1 && changes*3 >= len(run)
}

// Parts of names that secrets have, wherever they stand in a word.
var secretParts = []string{"password", "passwd", "passphrase", "secret", "apikey", "credential", "privatekey", "accesskey", "authtoken", "accesstoken", "bearertoken", "sharedaccess"}

// secretWords are whole words of such names, and lastWords those that are when nothing follows: a pin is one, pin_memory none.
var (
	secretWords = []string{"pwd", "auth", "authorization", "cookie", "cookies", "jwt", "dsn"}
	lastWords   = []string{"pass", "sas", "pat", "signature", "otp", "pin", "key"}
)

// textTokens are what stands beside "token" where it is a piece of text and no secret.
var textTokens = []string{"eos", "bos", "pad", "unk", "sep", "cls", "mask", "special", "stop", "end", "start", "image", "begin", "first", "last", "per", "by", "new", "max", "min", "num", "audio", "video", "prefix", "suffix", "middle", "decoder", "forced"}

// plainSuffixes make the name of a secret that of something about it.
var plainSuffixes = []string{"file", "path", "dir", "url", "uri", "endpoint", "length", "len", "type", "limit", "count", "size", "name", "ids", "dropout", "embedding", "embeddings", "classification", "budget", "method", "mode"}

// secretName reports whether name, of an option, a variable or a key, is that of a secret.
func secretName(name string) bool {
	if name == "PWD" || name == "OLDPWD" {
		return false
	}
	words := wordsOf(name)
	if len(words) == 0 || len(words) > 1 && slices.Contains(plainSuffixes, words[len(words)-1]) {
		return false
	}
	joined := strings.Join(words, "")
	if slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(joined, part) }) {
		return true
	}
	for i, word := range words {
		before := ""
		if i > 0 {
			before = words[i-1]
		}
		switch {
		case slices.Contains(secretWords, word), i == len(words)-1 && slices.Contains(lastWords, word):
			return true
		case word == "tokens":
			return slices.Contains([]string{"api", "access", "auth", "refresh"}, before)
		case strings.HasSuffix(word, "token"):
			return !slices.Contains(textTokens, before) && !(len(words) > i+1 && words[i+1] == "id")
		case word == "key" && words[i+1] == "id", word == "connection" && len(words) > i+1 && words[i+1] == "string", word == "connectionstring":
			return true
		}
	}
	return false
}

// wordsOf takes a name apart where its writer did: at what is no letter or digit, and where a capital begins.
func wordsOf(name string) []string {
	var words []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
		}
		word = nil
	}
	runes := []rune(name)
	for i, r := range runes {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			end()
			continue
		}
		nextLower := i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || unicode.IsUpper(runes[i-1]) && nextLower) {
			end()
		}
		word = append(word, r)
	}
	end()
	return words
}
