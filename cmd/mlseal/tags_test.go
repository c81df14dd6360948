package main

import (
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestTagsLeaveProvidersOut: a build with these tags has none of the clients of key services and object stores.
func TestTagsLeaveProvidersOut(t *testing.T) {
	deps := func(tags string) string {
		out, err := exec.Command("go", "list", "-deps", "-tags", tags, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	providers := []string{"github.com/aws/aws-sdk-go-v2/", "cloud.google.com/go/kms/", "google.golang.org/api/storage/", "github.com/hashicorp/vault/",
		"github.com/Azure/azure-sdk-for-go/sdk/azidentity", "github.com/Azure/azure-sdk-for-go/sdk/storage/", "gocloud.dev/blob/s3blob"}
	all, without := deps(""), deps("nokms,noobjectstore")
	for _, prefix := range providers {
		if !strings.Contains(all, "\n"+prefix) {
			t.Errorf("no build has %s any more", prefix)
		}
		if strings.Contains(without, "\n"+prefix) {
			t.Errorf("a build without providers has %s", prefix)
		}
	}
}

// builtWith reports whether the tests were built with a tag.
func builtWith(tag string) bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
		return s.Key == "-tags" && slices.Contains(strings.Split(s.Value, ","), tag)
	})
}
