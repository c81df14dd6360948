// Command measure runs commands in turn, A B C A B C …, and prints the medians of each, and the ratio of the first to each other.
//
//	measure RUNS NAME 'COMMAND A' 'COMMAND B'…
package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// run is what one run took.
type run struct {
	wall, cpu time.Duration
	peak      int64 // KiB
}

func main() {
	runs, err := strconv.Atoi(os.Args[1])
	if err != nil || runs < 1 || len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "measure RUNS NAME COMMAND…")
		os.Exit(2)
	}
	commands := os.Args[3:]
	all := make([][]run, len(commands))
	for i := range runs + 2 { // two to warm up
		for c, command := range commands {
			if r := once(strings.Fields(command)); i > 1 {
				all[c] = append(all[c], r)
			}
		}
	}
	fmt.Printf("%s, medians of %d:\n", os.Args[2], runs)
	wall := func(c int) float64 { return ms(median(all[c], func(r run) time.Duration { return r.wall })) }
	cpu := func(c int) float64 { return ms(median(all[c], func(r run) time.Duration { return r.cpu })) }
	for c, command := range commands {
		peak := float64(median(all[c], func(r run) int64 { return r.peak })) / 1024
		line := fmt.Sprintf("  %6.1f ms  %6.1f ms CPU  %5.1f MiB  %s", wall(c), cpu(c), peak, command)
		if c > 0 {
			line += fmt.Sprintf("\n          the first takes %.2fx of it, %.2fx of its CPU", wall(0)/wall(c), cpu(0)/cpu(c))
		}
		fmt.Println(line)
	}
}

func once(command []string) run {
	cmd := exec.Command(command[0], command[1:]...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(start)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", command, err, out)
		os.Exit(1)
	}
	return run{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak(cmd.ProcessState)}
}

func median[T cmp.Ordered](runs []run, of func(run) T) T {
	values := make([]T, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }
