package escape

import (
	"fmt"
	"strings"
)

// Markdown returns s as one line of GitHub Flavored Markdown that shows it as it is, in a table's cell too: every ASCII character that may
// mean something is a character reference, which section 2.5 does not let stand for structure. What a site makes of the text that it
// shows, such as mentions, is left to whoever puts it where the site does not look.
func Markdown(s string) string {
	var b strings.Builder
	for _, r := range Line(s) {
		if r < 0x80 && strings.ContainsRune("&<>\"'`*_~[]\\|!:@#.${}^", r) {
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
