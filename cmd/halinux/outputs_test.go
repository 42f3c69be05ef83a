package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOneOutput(t *testing.T) {
	outputs := map[string]any{
		"storageVip": "10.10.0.102", "storageHosts": []any{"storage1", "storage2"},
		"storageMounts":       map[string]any{"home": "10.10.0.102:/srv/nfs/home", "a.b": "10.10.0.102:/srv/nfs/a.b"},
		"storageMountOptions": []any{"nfsvers=4.2", "hard"}, "kubeconfig": "[secret]", "count": 2.0,
		"endpoints": map[string]any{"www": []any{map[string]any{"host": "x"}}},
	}
	for path, want := range map[string]string{
		"storageVip": "10.10.0.102", "storageHosts.0": "storage1", "storageHosts": "storage1,storage2",
		"storageMounts.home": "10.10.0.102:/srv/nfs/home", "storageMounts.a.b": "10.10.0.102:/srv/nfs/a.b",
		"storageMountOptions": "nfsvers=4.2,hard", "count": "2", "endpoints.www.0.host": "x",
	} {
		got, err := one(outputs, path)
		assert.NoError(t, err, path)
		assert.Equal(t, want, got, path)
	}
	for path, want := range map[string]string{
		"storageVIP":         `there is no "storageVIP", there are count, endpoints, kubeconfig, storageHosts, storageMountOptions, storageMounts, storageVip`,
		"storageHosts.2":     `"2" is none of the numbers from 0 to 1`,
		"storageMounts":      "has several values: choose one of a.b, home",
		"storageMounts.away": `there is no "away", there are a.b, home`,
		"storageVip.0":       `there is nothing below it, so no "0"`,
		"kubeconfig":         "is a secret; `pulumi stack output --show-secrets` shows it",
		"kubeconfig.anna":    "is a secret; `pulumi stack output --show-secrets` shows it",
		"endpoints.www":      "has several values: choose one of host",
	} {
		_, err := one(outputs, path)
		assert.EqualError(t, err, want, path)
	}
}
