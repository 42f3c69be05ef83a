package lab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/halinux/halinux/archive"
)

//go:embed packages.txt
var packagesTxt string

// mirrorPackages is what packages.txt lists.
func mirrorPackages(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		names = append(names, strings.Fields(line)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// mirrorDir is a Debian archive with exactly what packages.txt needs.
func (l *Lab) mirrorDir() string {
	return l.imageDir("mirror", l.baseDir(), strings.Join(mirrorPackages(packagesTxt), " "))
}

func (l *Lab) signingKeyPath() string { return filepath.Join(l.cache, "mirror-key.asc") }

func (l *Lab) buildMirror(ctx context.Context, from func() (archive.Sources, error)) error {
	key, err := l.signingKey()
	if err != nil {
		return err
	}
	return l.buildImage("package mirror", l.mirrorDir(), func(dir string) error {
		s, err := from()
		if err != nil {
			return err
		}
		pool := filepath.Join(dir, "debian", "pool")
		if err := os.MkdirAll(pool, 0o755); err != nil {
			return err
		}
		scratch := filepath.Join(dir, "scratch")
		if err := l.withBuildRoot(ctx, s, filepath.Join(scratch, "upper"), scratch, func(root string) error {
			return l.fillPool(ctx, root, pool)
		}); err != nil {
			return err
		}
		if err := os.RemoveAll(scratch); err != nil {
			return err
		}
		return indexMirror(ctx, filepath.Join(dir, "debian"), key)
	})
}

// fillPool downloads the packages and all that they depend on: once as a host
// sees it that has the base already, and once for a host that has nothing, so
// that the base's own packages can be had again, too.
func (l *Lab) fillPool(ctx context.Context, root, pool string) error {
	wanted := mirrorPackages(packagesTxt)
	for _, view := range []struct {
		options  []string
		packages []string
	}{
		{nil, wanted},
		{[]string{"-o", "Dir::State::status=/dev/null"}, append(slices.Clone(basePackages), wanted...)},
	} {
		names, err := l.download(ctx, root, view.options, view.packages)
		if err != nil {
			return err
		}
		for _, name := range names {
			to := filepath.Join(pool, withoutEpoch(name))
			if err := os.Link(filepath.Join(l.cache, "debs", name), to); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("pool: %w", err)
			}
		}
	}
	return nil
}

// download fetches a set of packages with their dependencies and returns the
// names of the files. Sets that cannot be installed together are halved until
// they can.
func (l *Lab) download(ctx context.Context, root string, options, packages []string) ([]string, error) {
	apt := func(more ...string) *exec.Cmd {
		argv := slices.Concat([]string{"apt-get", "-qq", "-y"}, options, more, []string{"install"}, packages)
		return inChroot(ctx, root, argv...)
	}
	list := apt("--print-uris", "-o", "Dir::Cache::archives=/tmp/")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		if len(packages) == 1 || ctx.Err() != nil {
			return nil, fmt.Errorf("packages.txt: %s cannot be installed: %w: %s", packages[0], err, tail(stderr.String(), 10))
		}
		half := len(packages) / 2
		first, err := l.download(ctx, root, options, packages[:half])
		if err != nil {
			return nil, err
		}
		second, err := l.download(ctx, root, options, packages[half:])
		return append(first, second...), err
	}
	if err := run(apt("--download-only")); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	return parsePrintURIs(string(out)), nil
}

// parsePrintURIs reads the file names out of `apt-get --print-uris`.
func parsePrintURIs(out string) []string {
	var names []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) >= 3 && strings.HasPrefix(f[0], "'") && strings.HasSuffix(f[1], ".deb") {
			names = append(names, f[1])
		}
	}
	return names
}

var epoch = regexp.MustCompile(`_\d+%3a`)

// withoutEpoch names a package file as Debian's own pool does.
func withoutEpoch(name string) string { return epoch.ReplaceAllString(name, "_") }

// indexMirror writes and signs the indexes of the pool. All packages are in the
// release itself; its updates and security suites exist and are empty, so that
// a host may list them as it would list Debian's.
func indexMirror(ctx context.Context, archive string, key *openpgp.Entity) error {
	arch := debianArch()
	for _, suite := range []struct{ name, label, pool string }{
		{release, "Debian", "pool"}, {release + "-updates", "Debian", ""}, {release + "-security", "Debian-Security", ""},
	} {
		binary := filepath.Join(archive, "dists", suite.name, "main", "binary-"+arch)
		if err := os.MkdirAll(binary, 0o755); err != nil {
			return err
		}
		var index []byte
		if suite.pool != "" {
			cmd := exec.CommandContext(ctx, "apt-ftparchive", "packages", suite.pool)
			cmd.Dir = archive
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			var err error
			if index, err = cmd.Output(); err != nil {
				return fmt.Errorf("index the pool: %w: %s", err, tail(stderr.String(), 10))
			}
		}
		if err := os.WriteFile(filepath.Join(binary, "Packages"), index, 0o644); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "apt-ftparchive",
			"-o", "APT::FTPArchive::Release::Origin=Debian",
			"-o", "APT::FTPArchive::Release::Label="+suite.label,
			"-o", "APT::FTPArchive::Release::Suite="+suite.name,
			"-o", "APT::FTPArchive::Release::Codename="+suite.name,
			"-o", "APT::FTPArchive::Release::Architectures="+arch,
			"-o", "APT::FTPArchive::Release::Components=main",
			"release", ".")
		cmd.Dir = filepath.Join(archive, "dists", suite.name)
		text, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("release file of %s: %w", suite.name, err)
		}
		var signed bytes.Buffer
		w, err := clearsign.Encode(&signed, key.PrivateKey, nil)
		if err == nil {
			_, err = w.Write(text)
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			return fmt.Errorf("sign %s: %w", suite.name, err)
		}
		if err := os.WriteFile(filepath.Join(cmd.Dir, "InRelease"), signed.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func debianArch() string {
	if runtime.GOARCH == "arm" {
		return "armhf"
	}
	return runtime.GOARCH // amd64, arm64, riscv64, s390x are called the same
}

// signingKey is the mirror's key, made once per cache.
func (l *Lab) signingKey() (*openpgp.Entity, error) {
	if data, err := os.ReadFile(l.signingKeyPath()); err == nil {
		ring, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(data))
		if err != nil || len(ring) != 1 {
			return nil, fmt.Errorf("signing key of the mirror, remove %s to make a new one: %w", l.signingKeyPath(), err)
		}
		return ring[0], nil
	}
	key, err := openpgp.NewEntity("halinux lab mirror", "", "", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		return nil, fmt.Errorf("make signing key: %w", err)
	}
	text, err := armored(openpgp.PrivateKeyType, func(w io.Writer) error { return key.SerializePrivate(w, nil) })
	if err != nil {
		return nil, fmt.Errorf("write signing key: %w", err)
	}
	return key, writeFile(l.signingKeyPath(), text, 0o600)
}

// publicKey is the armored key that hosts check the mirror's signature with.
func (l *Lab) publicKey() ([]byte, error) {
	key, err := l.signingKey()
	if err != nil {
		return nil, err
	}
	return armored(openpgp.PublicKeyType, key.Serialize)
}

func armored(kind string, write func(io.Writer) error) ([]byte, error) {
	var text bytes.Buffer
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(write(w), w.Close()); err != nil {
		return nil, err
	}
	return append(text.Bytes(), '\n'), nil
}

// ServeMirror serves the package mirror on port 80 of the mirror's namespace
// until ctx ends. It is the whole work of the mirror's process.
func (l *Lab) ServeMirror(ctx context.Context) error {
	if err := l.enter(mirrorName); err != nil {
		return err
	}
	if err := writeFile(l.mirrorServed(), []byte(l.mirrorDir()), 0o644); err != nil {
		return err
	}
	held, err := lock(ctx, l.mirrorLock())
	if err != nil {
		return err
	}
	defer held.Close()
	return inNamespace(l.namespace(mirrorName), func() error {
		addr := l.topology.Mirror.Links[0].Address.String() + ":80"
		files := http.FileServer(http.Dir(l.mirrorDir()))
		server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(os.Stderr, r.RemoteAddr, r.Method, r.URL.Path)
			files.ServeHTTP(w, r)
		})}
		stop := context.AfterFunc(ctx, func() { server.Close() })
		defer stop()
		return server.ListenAndServe()
	})
}

func (l *Lab) mirrorLock() string { return filepath.Join(l.dir, "mirror.lock") }

// mirrorServed says which mirror the process serves.
func (l *Lab) mirrorServed() string { return filepath.Join(l.dir, "mirror.served") }
