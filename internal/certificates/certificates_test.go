package certificates

import (
	"crypto/dsa" //lint:ignore SA1019 a certificate may hold such a key
	"crypto/ecdsa"
	"crypto/rsa"
	"math"
	"math/big"
	"strings"
	"testing"
)

func TestCheckKey(t *testing.T) {
	bits := func(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n-1) }
	for name, tc := range map[string]struct {
		key  any
		says string
	}{
		"usual":          {&rsa.PublicKey{N: bits(2048), E: 65537}, ""},
		"largest":        {&rsa.PublicKey{N: bits(MaxRSABits), E: math.MaxInt32}, ""},
		"modulus":        {&rsa.PublicKey{N: bits(MaxRSABits + 1), E: 65537}, "an RSA key of 8193 bits, at most 8192"},
		"exponent":       {&rsa.PublicKey{N: bits(2048), E: math.MaxInt32 + 1}, "public exponent 2147483648 does not fit"},
		"elliptic curve": {&ecdsa.PublicKey{}, ""},
		"DSA":            {&dsa.PublicKey{}, ""}, // Go verifies nothing with it
		"none":           {nil, ""},
	} {
		err := CheckKey(tc.key)
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}
