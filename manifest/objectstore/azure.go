//go:build !noobjectstore

package objectstore

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azureobject "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

func init() { openers["azblob"] = openAzure }

// unwritable are the characters of a key that gocloud.dev writes in another way when it asks Azure for it.
const unwritable = "\"#%?\x7f"

// openAzure opens a container as gocloud.dev does: with AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or
// AZURE_STORAGE_CONNECTION_STRING, or else the SDK's default chain.
func openAzure(ctx context.Context, u *url.URL, opts Options) (store, error) {
	where, err := azureService(u.Query(), opts)
	if err != nil {
		return nil, err
	}
	client, err := newHTTP(opts)
	if err != nil {
		return nil, err
	}
	service, err := azureContainer(where, u.Host, client, opts)
	if err != nil {
		return nil, err
	}
	bucket, err := azureblob.OpenBucket(ctx, service, nil)
	if err != nil {
		return nil, err
	}
	return &blobStore{bucket: bucket, describe: describeAzure, pin: pinAzure, answered: answeredAzure}, nil
}

// azureService is where the account is: what the environment says, unless a parameter says otherwise.
func azureService(query url.Values, opts Options) (*azureblob.ServiceURLOptions, error) {
	if err := unknown(query, "storage_account", "domain", "protocol", "cdn", "localemu"); err != nil {
		return nil, err
	}
	get := func(parameter, variable string) string {
		if query.Has(parameter) {
			return query.Get(parameter)
		}
		return opts.getenv(variable)
	}
	where := &azureblob.ServiceURLOptions{
		AccountName: get("storage_account", "AZURE_STORAGE_ACCOUNT"), StorageDomain: get("domain", "AZURE_STORAGE_DOMAIN"),
		Protocol: get("protocol", "AZURE_STORAGE_PROTOCOL"), SASToken: opts.getenv("AZURE_STORAGE_SAS_TOKEN"),
	}
	for parameter, target := range map[string]*bool{"cdn": &where.IsCDN, "localemu": &where.IsLocalEmulator} {
		text := get(parameter, map[string]string{"cdn": "AZURE_STORAGE_IS_CDN", "localemu": "AZURE_STORAGE_IS_LOCAL_EMULATOR"}[parameter])
		on, err := strconv.ParseBool(text)
		if err != nil && text != "" {
			return nil, fmt.Errorf("%w: %s is true or false", ErrURL, parameter)
		}
		*target = on
	}
	// A SAS token is a part of the address that is asked: an address on the command line must not send it elsewhere.
	for _, parameter := range []string{"domain", "protocol", "cdn", "localemu"} {
		if query.Has(parameter) && where.SASToken != "" {
			return nil, fmt.Errorf("%w: with AZURE_STORAGE_SAS_TOKEN the parameter %s is not taken: set it in the environment too", ErrURL, parameter)
		}
	}
	return where, nil
}

// azureContainer is a client of a container with the credentials that the environment has, in gocloud.dev's order.
func azureContainer(where *azureblob.ServiceURLOptions, name string, client *http.Client, opts Options) (*container.Client, error) {
	azure := &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: client, Telemetry: policy.TelemetryOptions{ApplicationID: telemetry(opts.UserAgent)}}}
	connection := opts.getenv("AZURE_STORAGE_CONNECTION_STRING")
	if connection == "" {
		connection = opts.getenv("AZURE_STORAGEBLOB_CONNECTIONSTRING")
	}
	key := opts.getenv("AZURE_STORAGE_KEY")
	if connection != "" && key == "" && where.SASToken == "" {
		service, err := container.NewClientFromConnectionString(connection, name, azure)
		if err != nil {
			return nil, fmt.Errorf("%w: AZURE_STORAGE_CONNECTION_STRING cannot be read", ErrURL) // the error may show it
		}
		return service, nil
	}
	if where.AccountName == "" {
		return nil, fmt.Errorf("%w: name the storage account with ?storage_account= or AZURE_STORAGE_ACCOUNT", ErrURL)
	}
	service, err := azureblob.NewServiceURL(where)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	address, err := url.JoinPath(string(service), name)
	if err != nil {
		return nil, fmt.Errorf("%w: the account's address cannot be read", ErrURL)
	}
	switch {
	case key != "":
		credential, err := azblob.NewSharedKeyCredential(where.AccountName, key)
		if err != nil {
			return nil, fmt.Errorf("%w: AZURE_STORAGE_KEY cannot be read", ErrURL)
		}
		return container.NewClientWithSharedKeyCredential(address, credential, azure)
	case where.SASToken != "":
		return container.NewClientWithNoCredential(address, azure)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrDenied, line(err.Error()))
	}
	return container.NewClient(address, credential, azure)
}

// telemetry is a name as Azure's client takes it: 24 characters, without white space.
func telemetry(name string) string {
	name = strings.ReplaceAll(name, " ", "-")
	return name[:min(len(name), 24)]
}

func describeAzure(listed *blob.ListObject, o *object) string {
	var in container.BlobItem
	if !listed.As(&in) || in.Name == nil {
		return o.key
	}
	if in.Properties != nil && in.Properties.ETag != nil {
		o.version = unquoted(string(*in.Properties.ETag))
	}
	if strings.ContainsAny(*in.Name, unwritable) {
		return ""
	}
	return *in.Name
}

// pinAzure asks for the version.
func pinAzure(as func(any) bool, version string) error {
	var in *azureobject.DownloadStreamOptions
	if as(&in) && version != "" {
		etag := azcore.ETag(*quoted(version))
		in.AccessConditions = &azureobject.AccessConditions{ModifiedAccessConditions: &azureobject.ModifiedAccessConditions{IfMatch: &etag}}
	}
	return nil
}

func answeredAzure(r *blob.Reader, a *answer) string {
	var out azureobject.DownloadStreamResponse
	if !r.As(&out) || out.ETag == nil {
		return ""
	}
	if out.ContentRange != nil {
		a.bytes = *out.ContentRange
	}
	return unquoted(string(*out.ETag))
}
