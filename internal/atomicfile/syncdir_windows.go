package atomicfile

// SyncDir does nothing: Windows offers no way to sync a directory, and writes its metadata by itself.
func SyncDir(string) error { return nil }
