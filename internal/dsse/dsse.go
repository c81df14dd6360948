// Package dsse has what the reader and the writer of DSSE envelopes share.
package dsse

import "fmt"

// Header is what stands before the payload, of size bytes, in the pre-authentication encoding that is signed (DSSE v1.0, "Signature Definition").
func Header(payloadType string, size int) string {
	return fmt.Sprintf("DSSEv1 %d %s %d ", len(payloadType), payloadType, size)
}
