//go:build !nokms

package signer

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	awskms "github.com/sigstore/sigstore/pkg/signature/kms/aws"
)

func init() {
	registerKMS(kmsService{
		prefix:  awskms.ReferenceScheme,
		check:   awskms.ValidReference,
		pin:     pinAWS,
		gone:    func(err error) bool { var e *types.NotFoundException; return errors.As(err, &e) },
		needs:   "awskms:// is reached as the AWS SDK finds credentials: AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
		secrets: func() []string { return []string{os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")} },
	})
}

// pinAWS replaces an alias, which can be moved, by the ARN of its key, which has no versions.
func pinAWS(ctx, life context.Context, ref string) (*pinned, error) {
	endpoint, id, _, err := awskms.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	key, err := describeAWSKey(ctx, endpoint, id)
	if err != nil {
		return nil, err
	}
	if key.KeyUsage != types.KeyUsageTypeSignVerify || len(key.SigningAlgorithms) == 0 {
		return nil, fmt.Errorf("%w: the key's usage is %s", ErrKey, key.KeyUsage)
	}
	return load(ctx, life, awskms.ReferenceScheme+endpoint+"/"+aws.ToString(key.Arn))
}

func describeAWSKey(ctx context.Context, endpoint, id string) (*types.KeyMetadata, error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	if endpoint != "" {
		settings.BaseEndpoint = aws.String("https://" + endpoint)
	}
	answer, err := kms.NewFromConfig(settings).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, err
	}
	if answer.KeyMetadata == nil {
		return nil, errors.New("the answer does not describe the key")
	}
	return answer.KeyMetadata, nil
}
