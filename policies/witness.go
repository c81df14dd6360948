package policies

import "fmt"

// witnesses are what a policy wants beside the signature of every statement that counts.
type witnesses struct {
	log        logMode
	timestamps int // by different authorities
}

// logMode says what a policy thinks of transparency logs.
type logMode string

const (
	logRequired  logMode = "required"
	logOptional  logMode = "optional" // the default
	logForbidden logMode = "forbidden"
)

// NeedsWitnesses reports whether the policy asks for log entries or timestamps, so that a verifier has to look for them beside
// signatures that hold without.
func (p *Policy) NeedsWitnesses() bool {
	return p.witnesses.log == logRequired || p.witnesses.timestamps > 0
}

// unwitnessed says what is missing beside the signature of a statement; empty when nothing is.
func (p *Policy) unwitnessed(ev *Evidence) string {
	w := p.witnesses
	switch {
	case w.log == logRequired && ev.Logs == 0:
		return "no entry in a trusted transparency log was verified, and trust.transparencyLog is required"
	case w.log == logForbidden && ev.LogEntries > 0:
		return "it was entered into a transparency log, and trust.transparencyLog is forbidden"
	case ev.Timestamps < w.timestamps:
		return fmt.Sprintf("verified times by %d different authorities, and trust.timestamps wants %d", ev.Timestamps, w.timestamps)
	}
	return ""
}
