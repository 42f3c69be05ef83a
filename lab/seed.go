package lab

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// seedFile is one file (or link) that makes a host itself.
type seedFile struct {
	path string // without the leading slash
	mode os.FileMode
	data []byte
	link string // target, when the file is a symbolic link
}

// ensureIdentity makes the keys of the instance: root's, and one per host.
func (l *Lab) ensureIdentity() error {
	if err := ensureKey(filepath.Join(l.dir, "id_ed25519"), "lab"); err != nil {
		return err
	}
	var known strings.Builder
	for _, name := range l.topology.hostNames() {
		path := filepath.Join(l.hostDir(name), "ssh_host_ed25519_key")
		if err := ensureKey(path, name); err != nil {
			return err
		}
		pub, err := os.ReadFile(path + ".pub")
		if err != nil {
			return err
		}
		key := strings.Join(strings.Fields(string(pub))[:2], " ")
		names := []string{name}
		for _, link := range l.topology.Hosts[name].Links {
			if link.Address.IsValid() {
				names = append(names, link.Address.String())
			}
		}
		fmt.Fprintf(&known, "%s %s\n", strings.Join(names, ","), key)
		if err := ensureRandomHex(filepath.Join(l.hostDir(name), "machine-id")); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(l.dir, "known_hosts"), []byte(known.String()), 0o644); err != nil {
		return err
	}
	pub, err := l.publicKey()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(l.dir, "mirror.asc"), pub, 0o644)
}

// ensureKey makes an ed25519 key pair in OpenSSH's format.
func ensureKey(path, comment string) error {
	if _, err := os.Stat(path + ".pub"); err == nil {
		return nil
	}
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, comment)
	if err != nil {
		return fmt.Errorf("key %s: %w", path, err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		return fmt.Errorf("key %s: %w", path, err)
	}
	if err := writeFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return err
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub))) + " " + comment + "\n"
	return writeFile(path+".pub", []byte(line), 0o644)
}

func ensureRandomHex(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	id := make([]byte, 16)
	rand.Read(id)
	return writeFile(path, []byte(hex.EncodeToString(id)+"\n"), 0o444)
}

// seed is everything that makes the bare image this host.
func (l *Lab) seed(h *Host) ([]seedFile, error) {
	dir := l.hostDir(h.name)
	read := func(name string) []byte {
		data, err := os.ReadFile(name)
		if err != nil {
			panic(fmt.Errorf("identity of %s: %w", h.name, err)) // made by ensureIdentity
		}
		return data
	}
	files := []seedFile{
		{path: "etc/hostname", mode: 0o644, data: []byte(h.name + "\n")},
		{path: "etc/hosts", mode: 0o644, data: fmt.Appendf(nil, "127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost ip6-localhost ip6-loopback\n", h.name)},
		{path: "etc/machine-id", mode: 0o444, data: read(filepath.Join(dir, "machine-id"))},
		{path: "etc/resolv.conf", mode: 0o644, data: nil},
		{path: "etc/ssh/ssh_host_ed25519_key", mode: 0o600, data: read(filepath.Join(dir, "ssh_host_ed25519_key"))},
		{path: "etc/ssh/ssh_host_ed25519_key.pub", mode: 0o644, data: read(filepath.Join(dir, "ssh_host_ed25519_key.pub"))},
		{path: "root/.ssh/authorized_keys", mode: 0o600, data: read(filepath.Join(l.dir, "id_ed25519.pub"))},
	}
	// The image is complete: nothing of what systemd does after an update of
	// /usr (caches of ldconfig, catalogs, hardware) is to be done at first boot.
	for _, dir := range []string{"etc", "var"} {
		files = append(files, seedFile{path: dir + "/.updated", mode: 0o644})
	}
	for i, link := range h.Links {
		if link.Address.IsValid() {
			files = append(files, seedFile{
				path: fmt.Sprintf("etc/systemd/network/%d-%s.network", 10+i, link.Name), mode: 0o644,
				data: networkFile(l.topology, h, link),
			})
		}
	}
	if len(h.Sysctls) > 0 {
		var text strings.Builder
		for _, k := range sortedKeys(h.Sysctls) {
			fmt.Fprintf(&text, "%s = %s\n", k, h.Sysctls[k])
		}
		files = append(files, seedFile{path: "etc/sysctl.d/50-lab.conf", mode: 0o644, data: []byte(text.String())})
	}
	for _, dir := range h.Files {
		more, err := filesBelow(filepath.Join(l.topology.dir, dir))
		if err != nil {
			return nil, fmt.Errorf("hosts.%s.files: %w", h.name, err)
		}
		files = append(files, more...)
	}
	return files, nil
}

// networkFile configures a card for systemd-networkd.
func networkFile(t *Topology, h *Host, link Link) []byte {
	prefix := t.Networks[link.Network]
	text := fmt.Appendf(nil, "[Match]\nName=%s\n\n[Network]\nAddress=%v/%d\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
		link.Name, link.Address, prefix.Bits())
	if h.Gateway.IsValid() && prefix.Contains(h.Gateway) {
		text = fmt.Appendf(text, "Gateway=%v\n", h.Gateway)
	}
	return text
}

// filesBelow reads a folder as the files of a host.
func filesBelow(dir string) ([]seedFile, error) {
	var files []seedFile
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		f := seedFile{path: rel, mode: 0o644}
		if info.Mode()&os.ModeSymlink != 0 {
			f.link, err = os.Readlink(path)
		} else {
			f.data, err = os.ReadFile(path)
			f.mode |= info.Mode() & 0o111
		}
		files = append(files, f)
		return err
	})
	return files, err
}

// plant writes a seed into a root folder.
func plant(root string, files []seedFile) error {
	for _, f := range files {
		path := filepath.Join(root, f.path)
		dirMode := os.FileMode(0o755)
		if strings.HasPrefix(f.path, "root/") {
			dirMode = 0o700
		}
		err := os.MkdirAll(filepath.Dir(path), dirMode)
		if err == nil {
			err = os.Remove(path)
			if errors.Is(err, os.ErrNotExist) {
				err = nil
			}
		}
		if err == nil {
			if f.link != "" {
				err = os.Symlink(f.link, path)
			} else if err = os.WriteFile(path, f.data, f.mode); err == nil {
				err = os.Chmod(path, f.mode)
			}
		}
		if err != nil {
			return fmt.Errorf("seed %s: %w", f.path, err)
		}
	}
	return nil
}
