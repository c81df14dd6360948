package record

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// maxSystemFile bounds what is read of a file of the system, in bytes.
const maxSystemFile = 1 << 20

// readSome reads the beginning of a file; nothing when there is none.
func readSome(fsys fs.FS, name string, limit int64) string {
	f, err := fsys.Open(name)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	data, _ := io.ReadAll(io.LimitReader(f, limit))
	return string(data)
}

func firstLine(fsys fs.FS, name string) string {
	line, _, _ := strings.Cut(readSome(fsys, name, 4<<10), "\n")
	return strings.TrimSpace(line)
}

// valueOf is the value of the first line "key <separator> value" of a file.
func valueOf(text, key, separator string) string {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), separator); ok && strings.TrimSpace(name) == key {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// hostFacts says what the machine is, without naming it. root is the root of its file system.
func hostFacts(root fs.FS) map[string]string {
	facts := map[string]string{"os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": strconv.Itoa(runtime.NumCPU())}
	for name, value := range map[string]string{
		"kernel":       firstLine(root, "proc/sys/kernel/osrelease"),
		"distribution": valueOf(readSome(root, "etc/os-release", maxSystemFile), "PRETTY_NAME", "="),
		"cpu":          valueOf(readSome(root, "proc/cpuinfo", maxSystemFile), "model name", ":"),
		"memory":       valueOf(readSome(root, "proc/meminfo", maxSystemFile), "MemTotal", ":"),
		"nvidiaDriver": nvidiaDriver(root),
	} {
		if value != "" {
			facts[name] = value
		}
	}
	return facts
}

// nvidiaDriver is the version that the kernel module says of itself: "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  …".
func nvidiaDriver(root fs.FS) string {
	for _, field := range strings.Fields(firstLine(root, "proc/driver/nvidia/version")) {
		if field[0] >= '0' && field[0] <= '9' && strings.Contains(field, ".") {
			return field
		}
	}
	return ""
}

// accelerators is what Linux says of accelerators, as "8xNVIDIA H100 80GB HBM3"; "cpu" when it knows of none, and empty where that is
// not known. A container may see less than the machine has.
func accelerators(root fs.FS) string {
	models := slices.Concat(nvidiaModels(root), amdModels(root), habanaModels(root))
	if len(models) == 0 {
		if _, err := fs.Stat(root, "proc/cpuinfo"); err != nil {
			return ""
		}
		return "cpu"
	}
	slices.Sort(models)
	var parts []string
	for len(models) > 0 {
		n := 1
		for n < len(models) && models[n] == models[0] {
			n++
		}
		parts = append(parts, fmt.Sprintf("%dx%s", n, models[0]))
		models = models[n:]
	}
	return strings.Join(parts, " + ")
}

// nvidiaModels reads /proc/driver/nvidia/gpus/*/information, a file of "Model: \t\t NVIDIA H100" and more lines.
func nvidiaModels(root fs.FS) []string {
	var models []string
	names, _ := fs.Glob(root, "proc/driver/nvidia/gpus/*/information")
	for _, name := range names {
		if model := valueOf(readSome(root, name, maxSystemFile), "Model", ":"); model != "" {
			models = append(models, model)
		}
	}
	return models
}

// amdModels reads the nodes that the kernel's amdkfd lists: those with SIMD units are graphics processors.
//
// https://docs.kernel.org/gpu/amdgpu/: gfx_target_version is 90402 for gfx942.
func amdModels(root fs.FS) []string {
	var models []string
	names, _ := fs.Glob(root, "sys/class/kfd/kfd/topology/nodes/*/properties")
	for _, name := range names {
		text := readSome(root, name, maxSystemFile)
		if simd := valueOf(text, "simd_count", " "); simd == "" || simd == "0" {
			continue
		}
		model := "AMD"
		if version, err := strconv.Atoi(valueOf(text, "gfx_target_version", " ")); err == nil && version > 0 {
			model = fmt.Sprintf("AMD gfx%d%x%x", version/10000, version/100%100, version%100)
		}
		models = append(models, model)
	}
	return models
}

// habanaModels counts the devices of Intel's Gaudi.
func habanaModels(root fs.FS) []string {
	var models []string
	names, _ := fs.Glob(root, "sys/class/accel/accel*/device/device_type")
	for _, name := range names {
		if kind := firstLine(root, name); kind != "" && !strings.HasPrefix(path.Base(path.Dir(path.Dir(name))), "accel_controlD") {
			models = append(models, "Intel "+kind)
		}
	}
	return models
}
