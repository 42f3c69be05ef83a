package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
)

// copyState is what a CopyToRemote or a CopyFile says, but for the source.
type copyState struct {
	Connection connection `pulumi:"connection"`
	LocalPath  string     `pulumi:"localPath,optional"`
	RemotePath string     `pulumi:"remotePath"`
}

func createCopy(ctx context.Context, l log, state resource.PropertyMap) error {
	settings := state.Copy()
	delete(settings, "source")
	var c copyState
	if err := decode(settings, &c); err != nil {
		return err
	}
	return c.session(ctx, l, func(remote *sftp.Client) error {
		source := public(state["source"])
		if source.IsArchive() {
			return copyPath(remote, source.ArchiveValue().Path, c.RemotePath)
		}
		if asset := source.AssetValue(); asset.IsPath() {
			return copyPath(remote, asset.Path, c.RemotePath)
		}
		return copyText(remote, source.AssetValue().Text, c.RemotePath)
	}, sftp.UseConcurrentWrites(true))
}

// updateCopy copies again only where the content or the destination changed: a
// new host behind the same connection settings gets nothing.
func updateCopy(ctx context.Context, l log, old, state resource.PropertyMap) error {
	if hash(old["source"]) == hash(state["source"]) &&
		public(old["remotePath"]).DeepEquals(public(state["remotePath"])) {
		return nil
	}
	return createCopy(ctx, l, state)
}

func hash(source resource.PropertyValue) string {
	source = public(source)
	switch {
	case source.IsArchive():
		return source.ArchiveValue().Hash
	case source.IsAsset():
		return source.AssetValue().Hash
	default:
		return ""
	}
}

func createCopyFile(ctx context.Context, l log, state resource.PropertyMap) error {
	var c copyState
	if err := decode(state, &c); err != nil {
		return err
	}
	if _, err := os.Stat(c.LocalPath); err != nil {
		return err
	}
	return c.session(ctx, l, func(remote *sftp.Client) error {
		return copyFile(remote, c.LocalPath, c.RemotePath)
	})
}

// session opens SFTP on a connection that ends with it.
func (c *copyState) session(
	ctx context.Context, l log, work func(*sftp.Client) error, options ...sftp.ClientOption,
) error {
	client, err := c.Connection.dial(ctx, l)
	if err != nil {
		return err
	}
	defer client.Close()
	remote, err := sftp.NewClient(client, options...)
	if err != nil {
		return fmt.Errorf("open SFTP on %s: %w", c.Connection.Host, err)
	}
	defer remote.Close()
	return work(remote)
}

// stat returns nil where there is nothing.
func stat(remote *sftp.Client, name string) (fs.FileInfo, error) {
	info, err := remote.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at remote path %s: %w", name, err)
	}
	return info, nil
}

func copyText(remote *sftp.Client, text, name string) error {
	info, err := stat(remote, name)
	if err != nil {
		return err
	}
	if info != nil && info.IsDir() {
		return fmt.Errorf("remote path %s is a directory: a text asset needs the path of a file", name)
	}
	if err := remote.MkdirAll(path.Dir(name)); err != nil {
		return fmt.Errorf("make the folder of remote path %s: %w", name, err)
	}
	return write(remote, strings.NewReader(text), name)
}

// copyPath copies a file or a folder. A file goes into a folder that exists, or
// to the very path; a folder goes into the path under its own name, or only its
// content does where the source ends with a slash.
func copyPath(remote *sftp.Client, source, dest string) error {
	local, err := os.Stat(source)
	if err != nil {
		return err
	}
	there, err := stat(remote, dest)
	if err != nil {
		return err
	}
	if !local.IsDir() {
		switch {
		case there == nil:
			if err := remote.MkdirAll(path.Dir(dest)); err != nil {
				return fmt.Errorf("make the folder of remote path %s: %w", dest, err)
			}
		case there.IsDir():
			dest = path.Join(dest, filepath.Base(source))
		}
		return copyFile(remote, source, dest)
	}
	if there == nil {
		if err := remote.MkdirAll(dest); err != nil {
			return fmt.Errorf("make remote folder %s: %w", dest, err)
		}
	}
	if !strings.HasSuffix(source, "/") {
		dest = path.Join(dest, filepath.Base(source))
	}
	// By os.DirFS, so that a source that is a link to a folder is followed.
	return fs.WalkDir(os.DirFS(source), ".", func(below string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := path.Join(dest, below)
		if !entry.IsDir() {
			return copyFile(remote, filepath.Join(source, below), target)
		}
		return makeFolder(remote, target)
	})
}

func makeFolder(remote *sftp.Client, name string) error {
	info, err := stat(remote, name)
	switch {
	case err != nil:
		return err
	case info == nil:
		if err := remote.Mkdir(name); err != nil {
			return fmt.Errorf("make remote folder %s: %w", name, err)
		}
	case !info.IsDir():
		return fmt.Errorf("remote path %s exists but is not a directory", name)
	}
	return nil
}

// copyFile copies content only: the plugin leaves mode and owner to the host.
func copyFile(remote *sftp.Client, source, dest string) error {
	local, err := os.Open(source)
	if err != nil {
		return err
	}
	defer local.Close()
	return write(remote, local, dest)
}

func write(remote *sftp.Client, content io.Reader, name string) error {
	file, err := remote.Create(name)
	if err != nil {
		return fmt.Errorf("create remote file %s: %w", name, err)
	}
	if _, err := file.ReadFrom(content); err != nil {
		return errors.Join(fmt.Errorf("write remote file %s: %w", name, err), file.Close())
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("close remote file %s: %w", name, err)
	}
	return nil
}
