//go:build !noobjectstore

package objectstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/opencontainers/go-digest"
	gcaws "gocloud.dev/aws"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

func init() { openers["s3"] = openS3 }

// s3Parameters are those of gocloud.dev that are about reading.
var s3Parameters = []string{"region", "endpoint", "profile", "role", "anonymous", "hostname_immutable", "dualstack", "fips", "accelerate", "use_path_style", "s3ForcePathStyle", "disable_https", "rate_limiter_capacity"}

// openS3 opens a bucket with the credentials, the region and the endpoint of the SDK's default chain, unless a parameter says otherwise.
func openS3(ctx context.Context, u *url.URL, opts Options) (store, error) {
	query := u.Query()
	if err := unknown(query, s3Parameters...); err != nil {
		return nil, err
	}
	// What the environment or the profile names is checked when it is asked.
	if endpoint, err := url.Parse(query.Get("endpoint")); err != nil || query.Has("endpoint") && endpoint.Host == "" {
		return nil, fmt.Errorf("%w: the endpoint is no URL", ErrURL)
	} else if err := opts.checkPlain(endpoint); err != nil {
		return nil, err
	}
	client, err := newHTTP(opts)
	if err != nil {
		return nil, err
	}
	change := func(o *s3.Options) {
		o.HTTPClient = client
		o.AppID = opts.UserAgent
		// What the store says of an object is looked at here, and of a range nothing is said.
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	}
	for name, set := range map[string]func(*s3.Options, bool){
		"accelerate":       func(o *s3.Options, on bool) { o.UseAccelerate = on },
		"use_path_style":   func(o *s3.Options, on bool) { o.UsePathStyle = on },
		"s3ForcePathStyle": func(o *s3.Options, on bool) { o.UsePathStyle = on },
		"disable_https":    func(o *s3.Options, on bool) { o.EndpointOptions.DisableHTTPS = on },
	} {
		if !query.Has(name) {
			continue
		}
		on, err := strconv.ParseBool(query.Get(name))
		if err != nil {
			return nil, fmt.Errorf("%w: the parameter %s is true or false", ErrURL, name)
		}
		query.Del(name)
		before := change
		change = func(o *s3.Options) { before(o); set(o, on) }
	}
	cfg, err := gcaws.V2ConfigFromURLParams(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrURL, line(err.Error()))
	}
	if cfg.Region == "" {
		if !query.Has("endpoint") {
			return nil, fmt.Errorf("%w: name the region with ?region= or AWS_REGION", ErrURL)
		}
		cfg.Region = "us-east-1" // what stores that know no regions take
	}
	service := s3.NewFromConfig(cfg, change)
	bucket, err := s3blob.OpenBucket(ctx, service, u.Host, nil)
	if err != nil {
		return nil, err
	}
	return &blobStore{bucket: bucket, describe: describeS3, pin: pinS3, answered: answeredS3, ask: func(ctx context.Context, o object) (checksums, error) {
		head, err := service.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &u.Host, Key: &o.key, IfMatch: quoted(o.version), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			return checksums{}, err
		}
		return checksumsS3(head.ChecksumType, head.ChecksumSHA256, head.ChecksumCRC32C), nil
	}}, nil
}

func describeS3(listed *blob.ListObject, o *object) string {
	var in types.Object
	if !listed.As(&in) {
		return o.key
	}
	o.version = unquoted(aws.ToString(in.ETag))
	return aws.ToString(in.Key)
}

// pinS3 asks for the version, and for the checksums of the object: not by way of the SDK's own ChecksumMode, with which it would
// compare them itself and tell of a difference in words only. What fails is tried again by whoever reads, not by the SDK too.
func pinS3(as func(any) bool, version string) error {
	var in *s3.GetObjectInput
	if as(&in) && version != "" {
		in.IfMatch = quoted(version)
	}
	var change *[]func(*s3.Options)
	if as(&change) {
		*change = append(*change, func(o *s3.Options) { o.RetryMaxAttempts = 1 }, s3.WithAPIOptions(smithyhttp.AddHeaderValue("x-amz-checksum-mode", "ENABLED")))
	}
	return nil
}

func answeredS3(r *blob.Reader, a *answer) string {
	var out s3.GetObjectOutput
	if !r.As(&out) {
		return ""
	}
	if a.bytes = aws.ToString(out.ContentRange); a.bytes == "" {
		a.sums = checksumsS3(out.ChecksumType, out.ChecksumSHA256, out.ChecksumCRC32C)
	}
	return unquoted(aws.ToString(out.ETag))
}

// checksumsS3 reads the checksums of a whole object. That of one that came in parts is of the parts' checksums, and ends in their number.
func checksumsS3(kind types.ChecksumType, sha256, crc32c *string) (c checksums) {
	if kind == types.ChecksumTypeComposite {
		return c
	}
	if raw, err := base64.StdEncoding.DecodeString(aws.ToString(sha256)); err == nil && len(raw) == 32 {
		c.sha256 = digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(raw))
	}
	c.crc32c = parseCRC32C(aws.ToString(crc32c))
	return c
}

// parseCRC32C reads a crc32c as S3 and Google write it: base64 of four bytes, the highest first. nil when it is none.
func parseCRC32C(text string) *uint32 {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return nil
	}
	sum := binary.BigEndian.Uint32(raw)
	return &sum
}

// unquoted is an ETag without what some services write around it and others do not.
func unquoted(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }

// quoted is an ETag as If-Match has it (RFC 9110, section 8.8.3); nil for none.
func quoted(version string) *string {
	if version == "" {
		return nil
	}
	version = `"` + version + `"`
	return &version
}
