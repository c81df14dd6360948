package starter

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// defaultDays is how long a policy holds unless somebody says otherwise.
const defaultDays = 365

// Ask asks the three questions: who signs, what there must be, where the policy applies and for how long. What o has already is not asked.
func Ask(r io.Reader, w io.Writer, o Options) (Options, error) {
	in := bufio.NewScanner(r)
	var err error
	if len(o.Signers) == 0 {
		if o.Signers, err = askSigners(in, w); err != nil {
			return o, err
		}
	}
	if len(o.Requires) == 0 {
		answer, err := line(in, w, fmt.Sprintf("What must there be? Of %s [signed]: ", strings.Join(Kinds(), ", ")))
		if err != nil {
			return o, err
		}
		o.Requires = Words(answer)
		if len(o.Requires) == 0 {
			o.Requires = []string{"signed"}
		}
	}
	if o.Expires.IsZero() {
		answer, err := line(in, w, fmt.Sprintf("Where does it apply, and for how many days? As in registry.example/models/** 90 [everywhere, %d]: ", defaultDays))
		if err != nil {
			return o, err
		}
		if o, err = o.where(answer); err != nil {
			return o, err
		}
	}
	return o, nil
}

// askSigners asks for one signer after the other until there is no answer.
func askSigners(in *bufio.Scanner, w io.Writer) ([]Signer, error) {
	var out []Signer
	question := "Who signs? NAME=PUBLIC-KEY-FILE or NAME=ISSUER,SUBJECT: "
	for {
		answer, err := line(in, w, question)
		if err != nil || answer == "" && len(out) > 0 {
			return out, err
		}
		s, err := ParseSigner(answer)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
		question = "Who else? Nothing for nobody: "
	}
}

// where reads repositories and a number of days, in any order.
func (o Options) where(answer string) (Options, error) {
	days := defaultDays
	for _, word := range Words(answer) {
		n, err := strconv.Atoi(word)
		switch {
		case err != nil:
			o.Repositories = append(o.Repositories, word)
		case n < 1 || n > 10*365:
			return o, fmt.Errorf("%w: %d days: between 1 and 3650", ErrAnswer, n)
		default:
			days = n
		}
	}
	o.Expires = Until(o.Now, days)
	return o, nil
}

// Until is the end of a policy that holds for some days.
func Until(now time.Time, days int) time.Time {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, 0, days)
}

// Words are parted by spaces or commas.
func Words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })
}

func line(in *bufio.Scanner, w io.Writer, question string) (string, error) {
	if _, err := io.WriteString(w, question); err != nil {
		return "", err
	}
	if !in.Scan() {
		if err := in.Err(); err != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: the answers ended", ErrAnswer)
	}
	return strings.TrimSpace(in.Text()), nil
}
