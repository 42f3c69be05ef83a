package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// mariadbSet is MariaDB with Galera and mariadb-backup, and what the scripts of its
// state transfers call. It keeps this part of the official image's contract: the
// programs are on PATH, the Galera provider is /usr/lib/galera/libgalera_smm.so,
// data is in /var/lib/mysql, the socket is /run/mysqld/mysqld.sock, and the user
// mysql has the number 999. It has no entry point and knows none of the official
// image's variables: galera-node does that work.
var mariadbSet = &packageSet{
	name: "mariadb",
	packages: []string{
		"bash", "coreutils", "dash", "findutils", "galera-4", "gawk", "grep", "hostname", "iproute2",
		"libacl1", "libaio1t64", "libattr1", "libaudit1", "libblkid1", "libbpf1", "libbsd0", "libbz2-1.0", "libc-bin", "libc6", "libcap-ng0", "libcap2",
		"libcom-err2", "libcrypt1", "libdb5.3t64", "libedit2", "libelf1t64", "libgcc-s1", "libgmp10", "libgssapi-krb5-2",
		"libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "liblsof0", "liblz4-1", "libmariadb3", "libmd0", "libmnl0", "libmount1",
		"libmpfr6", "libncurses6", "libncursesw6", "libnuma1", "libpam0g", "libpcre2-8-0", "libpcre2-posix3", "libproc2-0",
		"libreadline8t64", "libselinux1", "libsigsegv2", "libsmartcols1", "libssl3t64", "libstdc++6", "libsystemd0", "libtinfo6", "libtirpc3t64", "libudev1",
		"liburing2", "libuuid1", "libwrap0", "libxtables12", "libxxhash0", "libzstd1", "lsof", "mariadb-backup", "mariadb-client",
		"mariadb-client-core", "mariadb-server", "mariadb-server-core", "openssl", "openssl-provider-legacy",
		"procps", "sed", "socat", "util-linux", "zlib1g",
	},
	keep:  ofMariaDB,
	links: map[string]string{"usr/bin/awk": "gawk", "var/run": "../run"},
	files: map[string]string{
		"etc/group":           "root:x:0:\nmysql:x:999:\n",
		"etc/nsswitch.conf":   "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
		"etc/passwd":          "root:x:0:0:root:/root:/usr/sbin/nologin\nmysql:x:999:999:MariaDB:/var/lib/mysql:/usr/sbin/nologin\n",
		"var/lib/mysql/.keep": "",
		"run/mysqld/.keep":    "",
		"tmp/.keep":           "",
		"etc/galera/.keep":    "",
		"run/secrets/.keep":   "",
		"proc/.keep":          "",
		"dev/.keep":           "",
	},
}

// programs of the packages that nothing of MariaDB's calls and that are large, or
// whose libraries are.
var withoutUse = []string{
	"bpftool", "lslogins", "mariadb-embedded", "mariadb-ldb", "myrocks_hotbackup", "sst_dump", "wdctl",
}

// ofMariaDB is what of those packages is of use: programs, libraries with
// plugins, and MariaDB's own tables and messages, in English.
func ofMariaDB(name string) (string, bool) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, dir := range []string{"bin/", "sbin/", "lib/", "lib64/"} {
		if strings.HasPrefix(name, dir) {
			name = "usr/" + name
		}
	}
	switch base := path.Base(name); {
	case slices.Contains(withoutUse, base), strings.Contains(name, "/gconv/"), strings.Contains(name, "/systemd/"):
		return "", false
	case strings.HasPrefix(name, "usr/bin/"), strings.HasPrefix(name, "usr/sbin/"), strings.HasPrefix(name, "usr/lib64/"):
		return name, true
	case strings.HasPrefix(name, "usr/lib/galera/"), strings.HasPrefix(name, "usr/lib/mysql/"):
		return name, true
	case strings.HasPrefix(name, "usr/lib/"):
		return name, strings.Contains(base, ".so")
	case strings.HasPrefix(name, "usr/share/mariadb/"):
		rest := strings.TrimPrefix(name, "usr/share/mariadb/")
		folder, _, nested := strings.Cut(rest, "/")
		return name, !nested || folder == "english" || folder == "charsets"
	case name == "etc/ssl/openssl.cnf", name == "usr/lib/ssl/openssl.cnf":
		return name, true
	}
	return "", false
}

// UnpackMariaDB puts what the image mariadb is made of into an empty folder, so
// that it can be tried without containers.
func UnpackMariaDB(ctx context.Context, o Options, dir string) error {
	packages, err := o.packages(ctx, mariadbSet)
	if err != nil {
		return err
	}
	fill, err := mariadbSet.contents(packages[mariadbSet.name])
	if err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() {
		tw := tar.NewWriter(w)
		err := fill(tw)
		w.CloseWithError(errors.Join(err, tw.Close()))
	}()
	defer r.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := unpack(root, h, tr); err != nil {
			return err
		}
	}
}

// unpack writes one entry.
func unpack(root *os.Root, h *tar.Header, r io.Reader) error {
	name := filepath.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, name)
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(h.Mode))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
