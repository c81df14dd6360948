//go:build !nokms

package signer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/sigstore/sigstore/pkg/signature/kms/azure"
)

func init() {
	registerKMS(kmsService{
		prefix:  azure.ReferenceScheme,
		check:   azure.ValidReference,
		pin:     pinAzure,
		gone:    azureGone,
		needs:   "azurekms:// is reached as the Azure SDK finds credentials: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, a managed identity, or `az login`",
		secrets: func() []string { return []string{os.Getenv("AZURE_CLIENT_SECRET"), os.Getenv("IDENTITY_HEADER")} },
	})
}

// pinAzure asks for the latest version's identifier where the reference names no version, and opens that version.
func pinAzure(ctx, life context.Context, ref string) (*pinned, error) {
	parts := strings.Split(strings.TrimPrefix(ref, azure.ReferenceScheme), "/")
	if len(parts) < 3 || parts[2] == "" {
		version, err := latestAzureVersion(ctx, parts[0], parts[1])
		if err != nil {
			return nil, err
		}
		ref = azure.ReferenceScheme + parts[0] + "/" + parts[1] + "/" + version
	}
	return load(ctx, life, ref)
}

func latestAzureVersion(ctx context.Context, vault, name string) (string, error) {
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: azcore.ClientOptions{Cloud: azureCloud()},
	})
	if err != nil {
		return "", err
	}
	client, err := azkeys.NewClient("https://"+vault+"/", credential, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.GetKey(ctx, name, "", nil)
	if err != nil {
		return "", err
	}
	if answer.Key == nil || answer.Key.KID == nil || answer.Key.KID.Version() == "" {
		return "", errors.New("the answer names no version of the key")
	}
	if answer.Key.Kty != nil && strings.HasPrefix(string(*answer.Key.Kty), "oct") {
		return "", fmt.Errorf("%w: a symmetric key does not sign", ErrKey)
	}
	return answer.Key.KID.Version(), nil
}

// azureCloud reads AZURE_ENVIRONMENT as sigstore's client does.
func azureCloud() cloud.Configuration {
	switch os.Getenv("AZURE_ENVIRONMENT") {
	case "AZUREUSGOVERNMENT", "AZUREUSGOVERNMENTCLOUD":
		return cloud.AzureGovernment
	case "AZURECHINACLOUD":
		return cloud.AzureChina
	}
	return cloud.AzurePublic
}

func azureGone(err error) bool {
	var answer *azcore.ResponseError
	return errors.As(err, &answer) && answer.StatusCode == 404
}
