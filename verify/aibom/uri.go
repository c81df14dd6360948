package aibom

import (
	"net/url"
	"strings"
)

// isURI reports whether a text is an absolute URI, which both formats take for a reference. What is none is not made into one.
func isURI(s string) bool {
	for _, r := range s {
		if r <= ' ' || r > '~' || strings.ContainsRune("<>\"{}|\\^`", r) {
			return false
		}
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && (u.Host != "" || u.Opaque != "" || u.Path != "")
}

// purl is the package URL that a URI is or stands for; empty when it is none. A Hugging Face repository is one by the commit only: a branch may be
// another model tomorrow.
func purl(uri string) string {
	if strings.HasPrefix(uri, "pkg:") && isURI(uri) && strings.Contains(uri, "/") {
		return uri
	}
	rest, ok := strings.CutPrefix(uri, "hf://")
	name, revision, pinned := strings.Cut(rest, "@")
	if !ok || !pinned || !isURI(uri) || strings.Count(name, "/") != 1 || !isCommit(revision) {
		return ""
	}
	// purl-spec, huggingface: "The version is the model revision Git commit hash. It is case insensitive and must be lowercased".
	return "pkg:huggingface/" + name + "@" + strings.ToLower(revision)
}

// isCommit reports whether a revision is the sha1 of a commit.
func isCommit(revision string) bool {
	return len(revision) == 40 && strings.Trim(strings.ToLower(revision), "0123456789abcdef") == ""
}

// OCIPURL is the package URL of an artifact in a registry (purl-spec, oci): the last part of the repository's name, the digest of the image
// manifest, and the repository as a qualifier.
func OCIPURL(repository, digest string) string {
	name := repository[strings.LastIndexByte(repository, '/')+1:]
	return "pkg:oci/" + url.PathEscape(strings.ToLower(name)) + "@" + strings.ReplaceAll(digest, ":", "%3A") + "?repository_url=" + strings.ReplaceAll(url.PathEscape(strings.ToLower(repository)), ":", "%3A")
}
