package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// The paths of the distribution API, as files: a registry that is only read
// needs no more than a web server that knows the type of a manifest.

func manifestPath(dir, name, reference string) string {
	return filepath.Join(dir, release.Manifest(name, reference))
}

func blobPath(dir, name, digest string) string {
	return filepath.Join(dir, "v2", name, "blobs", digest)
}

// store writes an image and returns the digest of its manifest. The manifest
// comes last, and under its tag after that: what can be found is whole.
func store(dir, name, tag string, image v1.Image) (string, error) {
	layers, err := image.Layers()
	if err != nil {
		return "", err
	}
	for _, l := range layers {
		digest, err := l.Digest()
		if err != nil {
			return "", err
		}
		r, err := l.Compressed()
		if err != nil {
			return "", err
		}
		err = writeFrom(blobPath(dir, name, digest.String()), r)
		if err := errors.Join(err, r.Close()); err != nil {
			return "", err
		}
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return "", err
	}
	configName, err := image.ConfigName()
	if err != nil {
		return "", err
	}
	manifest, err := image.RawManifest()
	if err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	for _, f := range []struct {
		path string
		data []byte
	}{
		{blobPath(dir, name, configName.String()), config},
		{manifestPath(dir, name, digest.String()), manifest},
		{manifestPath(dir, name, tag), manifest},
	} {
		if err := writeFile(f.path, f.data); err != nil {
			return "", err
		}
	}
	return digest.String(), nil
}

// verify finds whether an image with all its blobs is there.
func verify(dir string, image Image) error {
	data, err := os.ReadFile(manifestPath(dir, image.Name, image.Digest))
	if err != nil {
		return err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return fmt.Errorf("manifest of %s: %w", image.Name, err)
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		if info, err := os.Stat(blobPath(dir, image.Name, d.Digest.String())); err != nil || info.Size() != d.Size {
			return fmt.Errorf("image %s lacks %s", image.Name, d.Digest)
		}
	}
	if _, err := os.Stat(manifestPath(dir, image.Name, image.Tag)); err != nil {
		return err
	}
	return nil
}

func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func writeFrom(path string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
