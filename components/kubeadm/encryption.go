package kubeadm

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
	"github.com/halinux/halinux/components/stash"
)

// firstKey is the name of the key that every cluster begins with. It is kept with
// the authorities; keys of other names have each a place of their own.
const firstKey = "key1"

// encryptionKeys are the names of the keys, the one that writes first.
func (a *KubeadmClusterArgs) encryptionKeys() []string {
	if len(a.EncryptionKeys) == 0 {
		return []string{firstKey}
	}
	return a.EncryptionKeys
}

// keyMark is the name of a key among a phase's secrets.
func keyMark(name string) string {
	if name == firstKey {
		return encryptionKey
	}
	return encryptionKey + "-" + name
}

func (a *KubeadmClusterArgs) validateEncryption(l *problem.List) {
	for i, name := range a.EncryptionKeys {
		at := fmt.Sprintf("encryptionKeys[%d]", i)
		switch {
		case !host.DNSLabel.MatchString(name):
			l.Add(at, fmt.Sprintf("%q is not a name for a key", name), "use lower-case letters, digits and hyphens, like the month in which it was made")
		case slices.Contains(a.EncryptionKeys[:i], name):
			l.Add(at, name+" stands there twice", "name each key once, the one that writes first")
		}
	}
	if a.Upgrade != nil && len(a.EncryptionKeys) > 1 {
		l.Add("encryptionKeys", "change together with the version", "finish one of both: `kubeadm upgrade` writes API servers' manifests in its own order")
	}
}

// newKey makes a key for secretbox.
func newKey() string {
	secret := make([]byte, 32)
	rand.Read(secret)
	return base64.StdEncoding.EncodeToString(secret)
}

// keepKeys returns the keys by their marks, made in this run or kept in the state;
// the first key is the authorities'.
func (a *KubeadmClusterArgs) keepKeys(ctx *pulumi.Context, name string, parent pulumi.Resource) (map[string]pulumi.StringInput, error) {
	keys := map[string]pulumi.StringInput{}
	for _, k := range a.encryptionKeys() {
		if k == firstKey {
			continue
		}
		kept, err := stash.Keep(ctx, name+"-"+keyMark(k), newKey(), parent)
		if err != nil {
			return nil, err
		}
		keys[keyMark(k)] = kept
	}
	return keys, nil
}

// encryptionConfig is the API server's file for keys in this order.
func encryptionConfig(keys []string) (string, error) {
	type key struct{ Name, Mark string }
	var all []key
	for _, k := range keys {
		all = append(all, key{k, keyMark(k)})
	}
	return host.Render(phases, "phases/control-plane/encryption.yaml.tmpl", map[string]any{"Keys": all})
}

// keySecrets are the keys as a phase takes them.
func (a *KubeadmClusterArgs) keySecrets(part func(string) pulumi.StringInput) map[string]pulumi.StringInput {
	secrets := map[string]pulumi.StringInput{}
	for _, k := range a.encryptionKeys() {
		secrets[keyMark(k)] = part(keyMark(k))
	}
	return secrets
}

// encryptionReaderPhase lets the API server of a control plane read what the key
// that comes will write, while it goes on writing with the one before. There is
// nothing to do where there is but one key, or no API server yet.
func (a *KubeadmClusterArgs) encryptionReaderPhase(h string, part func(string) pulumi.StringInput) ([]host.Phase, error) {
	keys := a.encryptionKeys()
	if len(keys) < 2 {
		return nil, nil
	}
	// The one that writes now is the second, or this run changes nothing.
	readers := slices.Concat([]string{keys[1], keys[0]}, keys[2:])
	content, err := encryptionConfig(readers)
	if err != nil {
		return nil, err
	}
	file := serverFile("encryption-reader", content)
	// A program of its own: this phase may leave, and the control plane's stays.
	p, err := host.NewPhase(phases, "encryption-reader", file,
		host.Embedded(phases, lib+"encryption-reader", "phases/control-plane/encryption-keys.sh").Executable())
	p.Vars = map[string]string{"file": file.Path, "keys": a.keyNames(), "key": keys[0], "writer": keys[1], "address": a.address(h)}
	p.Secrets = a.keySecrets(part)
	return []host.Phase{p}, err
}

// encryptionPhase writes all secrets anew, with the key that writes; it runs where
// all API servers do so.
func (a *KubeadmClusterArgs) encryptionPhase() ([]host.Phase, error) {
	keys := a.encryptionKeys()
	if len(keys) < 2 {
		return nil, nil
	}
	p, err := host.NewPhase(phases, "encryption")
	p.Vars = map[string]string{"key": keys[0], "address": a.address(a.ControlPlanes[0].Name)}
	p.Timeout = 25 * time.Minute
	return []host.Phase{p}, err
}

// keyNames is the list as scripts take it.
func (a *KubeadmClusterArgs) keyNames() string { return strings.Join(a.encryptionKeys(), " ") }
