package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mlseal/mlseal/internal/httpread"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// Login checks credentials with the registry (host[:port]) and keeps them in docker's configuration, or in the
// credential helper that it names; file is that configuration. What the registry does not accept fails with
// ErrCredentials.
func Login(ctx context.Context, registry, user, password string, opts OpenOptions) (file string, err error) {
	reg, err := remote.NewRegistry(registry)
	if err != nil {
		return "", fmt.Errorf("oci: %s: %w: %w", registry, ErrReference, err)
	}
	store, err := dockerStore()
	if err != nil {
		return "", err
	}
	base, err := baseTransport(opts.CACertificates)
	if err != nil {
		return "", err
	}
	reg.Client = newClient(retry.NewTransport(stallTransport{base, usualPatience}), store, opts)
	reg.PlainHTTP = opts.PlainHTTP || httpread.IsLoopback(reg.Reference.Registry)
	err = credentials.Login(ctx, store, reg, auth.Credential{Username: user, Password: password})
	response := (*errcode.ErrorResponse)(nil)
	switch {
	case err == nil:
		return store.ConfigPath(), nil
	case errors.As(err, &response) && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden):
		return "", fmt.Errorf("oci: %s: %w", registry, ErrCredentials)
	case errors.As(err, &response):
		return "", fmt.Errorf("oci: %s: %w", registry, remoteError(err))
	}
	return "", fmt.Errorf("oci: %w", remoteError(err))
}

// Logout forgets the credentials for the registry that docker's configuration or its helper has. Where there are none, it
// fails with ErrNotFound.
func Logout(ctx context.Context, registry string) error {
	store, err := dockerStore()
	if err != nil {
		return err
	}
	known, err := store.Get(ctx, credentials.ServerAddressFromRegistry(registry))
	if err != nil {
		return fmt.Errorf("oci: credentials for %s: %w", registry, err)
	}
	if known == auth.EmptyCredential {
		return fmt.Errorf("oci: credentials for %s: %w", registry, ErrNotFound)
	}
	if err := credentials.Logout(ctx, store, registry); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	return nil
}

func dockerStore() (*credentials.DynamicStore, error) {
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{AllowPlaintextPut: true, DetectDefaultNativeStore: true})
	if err != nil {
		return nil, fmt.Errorf("oci: docker's configuration: %w", err)
	}
	return store, nil
}
