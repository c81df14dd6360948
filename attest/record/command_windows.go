package record

import (
	"os"
	"os/signal"
)

// relay keeps this process alive: Ctrl-C and Ctrl-Break go to all processes of the console, so that the command has them already.
type relay struct{ ch chan os.Signal }

func listen() *relay {
	r := &relay{make(chan os.Signal, 8)}
	signal.Notify(r.ch, os.Interrupt)
	return r
}

func (r *relay) to(*os.Process) {}

func (r *relay) stop() []string {
	signal.Stop(r.ch)
	if len(r.ch) > 0 {
		return []string{"SIGINT"}
	}
	return nil
}

// EndedBySignal gives 0: there are none here.
func EndedBySignal(*os.ProcessState) (int, string) { return 0, "" }
