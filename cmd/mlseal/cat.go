package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/progress"
	"github.com/mlseal/mlseal/manifest/reader"
	"github.com/spf13/cobra"
)

func (a *app) catCommand() *cobra.Command {
	var f readFlags
	var part byteRange
	cmd := &cobra.Command{
		Use:   "cat REF|PATH [FILE]",
		Short: "Write a file of a package or directory to standard output, verified bytes only",
		Long: `Write a file of a package or of a signed directory to standard output. No byte is written that was not verified: when something is
wrong the output ends before it and the exit status is 1. FILE may be left out where there is one file only.

` + readingExplain + `

With shards the first byte comes when the first shard was read, and --range reads only the shards that it touches, from a registry too. Without them
the whole file is hashed first and read once more, in blocks that are hashed again; what comes from a registry or out of another tool's archive is kept for that in a
temporary file without a name (TMPDIR), which needs the room of the file. Up to 64 MiB, files and shards are held in memory and read once.

--range takes bytes as HTTP does, the last one included: 0-1023, 1024- (to the end), -512 (the last 512); or START:+LENGTH: 1024:+512.
What lies behind the end of the file is left out.`,
		Example: "  mlseal cat oci:store:v1 config.json\n" +
			"  mlseal cat registry.example/llm:v1 model.safetensors --signature model.sig --key trainer.pub | loader\n" +
			"  mlseal cat ./model weights.bin --signature model.sig --key trainer.pub --range 0-1023\n" +
			"  mlseal cat oci:store:v1 config.json --policy policy.yaml",
		Args: cobra.RangeArgs(1, 2),
	}
	f.add(cmd)
	cmd.Flags().Var(&part, "range", "bytes to write: FIRST-LAST, FIRST-, -COUNT or START:+LENGTH")
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := f.check("cat", args[0]); err != nil {
			return err
		}
		file := ""
		if len(args) > 1 {
			file = args[1]
		}
		return a.cat(cmd.Context(), args[0], file, part, f)
	})
	return cmd
}

func (a *app) cat(ctx context.Context, arg, file string, part byteRange, f readFlags) error {
	r, err := a.openReadable(ctx, arg, f)
	if err != nil {
		return err
	}
	defer r.close()
	if file, err = r.name("cat", arg, file); err != nil {
		return err
	}
	entry, err := r.entry(file)
	if err != nil {
		return err
	}
	opts := reader.Options{Memory: 1} // every byte is needed once
	if r.dear {
		opts.Spool = reader.SpoolLarge
	}
	verified, err := reader.Open(ctx, file, entry.Source, entry.Expected, opts)
	if err != nil {
		return err
	}
	defer func() { _ = verified.Close() }()
	start, end, err := part.of(verified.Size())
	if err != nil {
		return usage(fmt.Errorf("cat: %s: --range: %w", file, err))
	}
	a.note("checked against " + r.basis)
	n, err := verified.WriteRange(namedWriter{a.stdout, "standard output"}, start, end)
	if err != nil && n > 0 {
		return fmt.Errorf("cat: %s were written, all of them verified; then: %w", progress.Bytes(n), err)
	}
	return err
}

// namedWriter says in its errors what could not be written to.
type namedWriter struct {
	io.Writer
	name string
}

func (w namedWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = fmt.Errorf("%s: %w", w.name, err)
	}
	return n, err
}

// byteRange is the value of --range. The zero value is everything.
type byteRange struct {
	text       string
	start, end int64 // end is exclusive; math.MaxInt64 for the end of the file
	suffix     bool  // the last end bytes
}

func (b *byteRange) Type() string   { return "range" }
func (b *byteRange) String() string { return b.text }

var (
	rangeLikeHTTP = lazyregexp.New(`^([0-9]*)-([0-9]*)$`)
	rangeByLength = lazyregexp.New(`^([0-9]+):\+([0-9]+)$`)
	errRange      = errors.New("want FIRST-LAST, FIRST-, -COUNT or START:+LENGTH, in bytes")
)

func (b *byteRange) Set(text string) error {
	if b.text != "" {
		return errors.New("one range is written; run cat once for each")
	}
	out := byteRange{text: text, end: math.MaxInt64}
	var err error
	number := func(s string) int64 {
		n, parseErr := strconv.ParseInt(s, 10, 64)
		if parseErr != nil || n == math.MaxInt64 {
			err = errRange
		}
		return n
	}
	like, length := rangeLikeHTTP.FindStringSubmatch(text), rangeByLength.FindStringSubmatch(text)
	switch {
	case length != nil:
		out.start = number(length[1])
		out.end = out.start + min(number(length[2]), math.MaxInt64-out.start)
	case like == nil || like[1] == "" && like[2] == "":
		return errRange
	case like[1] == "":
		out.suffix, out.end = true, number(like[2])
	case like[2] == "":
		out.start = number(like[1])
	default:
		out.start, out.end = number(like[1]), number(like[2])+1
	}
	if err == nil && !out.suffix && (out.end < out.start || like != nil && out.end == out.start) {
		err = fmt.Errorf("it ends before it begins: %w", errRange)
	}
	*b = out
	return err
}

// of is the range in a file of size bytes. RFC 9110 section 14.1.2: a last position "greater than or equal to the current length" means the end, and
// a range that begins behind the end cannot be satisfied.
func (b *byteRange) of(size int64) (start, end int64, err error) {
	switch {
	case b.text == "":
		return 0, size, nil
	case b.suffix:
		return max(0, size-b.end), size, nil
	case b.start > size || b.start == size && size > 0:
		return 0, 0, fmt.Errorf("it begins at byte %d, and the file has %d", b.start, size)
	}
	return b.start, min(b.end, size), nil
}
