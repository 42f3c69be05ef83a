package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/kubeadm/release"
)

// fake makes a bundle of programs that are one line of text each, without any of
// Debian's packages.
func fake(t *testing.T, dir string, say *[]string) (Options, []program) {
	t.Helper()
	o := Options{Out: filepath.Join(dir, "bundle"), Say: func(format string, _ ...any) {
		if say != nil {
			*say = append(*say, format)
		}
	}}
	all := programs()
	for i := range all {
		all[i].path = filepath.Join(dir, "programs", all[i].name)
		require.NoError(t, writeFile(all[i].path, []byte(all[i].name+" "+all[i].version+"\n")))
	}
	return o, all
}

func TestBundleIsARegistry(t *testing.T) {
	o, programs := fake(t, t.TempDir(), nil)
	index, err := o.assemble(programs, nil)
	require.NoError(t, err)
	// As any web server does it that is told the type of a manifest.
	files := http.FileServer(http.Dir(o.Out))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	require.Len(t, index.Images, len(images()))
	get := func(path, accept string) []byte {
		t.Helper()
		r, err := http.Get(server.URL + path)
		require.NoError(t, err)
		defer r.Body.Close()
		require.Equal(t, http.StatusOK, r.StatusCode, path)
		if accept != "" {
			assert.Equal(t, accept, r.Header.Get("Content-Type"), path)
		}
		data, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return data
	}
	digestOf := func(data []byte) string {
		d, _, err := v1.SHA256(bytes.NewReader(data))
		require.NoError(t, err)
		return d.String()
	}
	for i, image := range index.Images {
		at := "/v2/" + image.Name
		text := get(at+"/manifests/"+image.Tag, string(types.OCIManifestSchema1))
		assert.Equal(t, image.Digest, digestOf(text))
		assert.Equal(t, text, get(at+"/manifests/"+image.Digest, string(types.OCIManifestSchema1)))
		manifest, err := v1.ParseManifest(bytes.NewReader(text))
		require.NoError(t, err)
		assert.Equal(t, types.OCIManifestSchema1, manifest.MediaType)
		blob := func(d v1.Descriptor) []byte {
			data := get(at+"/blobs/"+d.Digest.String(), "")
			assert.Equal(t, d.Digest.String(), digestOf(data))
			assert.EqualValues(t, d.Size, len(data))
			return data
		}
		config, err := v1.ParseConfigFile(bytes.NewReader(blob(manifest.Config)))
		require.NoError(t, err)
		assert.Equal(t, images()[i].entrypoint, config.Config.Entrypoint)
		var found []string
		for j, d := range manifest.Layers {
			assert.Equal(t, types.OCILayerZStd, d.MediaType)
			plain, err := zstd.NewReader(bytes.NewReader(blob(d)))
			require.NoError(t, err)
			data, err := io.ReadAll(plain)
			require.NoError(t, err)
			assert.Equal(t, config.RootFS.DiffIDs[j].String(), digestOf(data))
			for r := tar.NewReader(bytes.NewReader(data)); ; {
				h, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				if h.Typeflag == tar.TypeReg {
					found = append(found, strings.TrimPrefix(h.Name, "usr/local/bin/"))
					assert.EqualValues(t, 0o755, h.Mode, h.Name)
				}
			}
		}
		assert.Equal(t, images()[i].programs, found, image.Name)
	}

	sums, err := os.ReadFile(filepath.Join(o.Out, "SHA256SUMS"))
	require.NoError(t, err)
	for line := range strings.Lines(string(sums)) {
		sum, path, ok := strings.Cut(strings.TrimSpace(line), "  ")
		require.True(t, ok)
		got, err := checksums([]string{filepath.Join(o.Out, path)})
		require.NoError(t, err)
		assert.Equal(t, sum, got[filepath.Join(o.Out, path)], path)
	}
	assert.Contains(t, string(sums), "  "+release.Program("kubernetes", release.Kubernetes, "kubelet")+"\n")
	assert.Contains(t, string(sums), "  "+release.Manifest("kube-apiserver", release.Kubernetes)+"\n")
	assert.NotContains(t, string(sums), release.Program("", release.Kubernetes, "kube-apiserver"), "what runs in pods alone is no file")
}

func TestEqualInputsGiveEqualBundles(t *testing.T) {
	var bundles []*Index
	for range 2 {
		o, programs := fake(t, t.TempDir(), nil)
		index, err := o.assemble(programs, nil)
		require.NoError(t, err)
		bundles = append(bundles, index)
	}
	assert.Equal(t, bundles[0], bundles[1])
}

func TestABundleIsMadeOnce(t *testing.T) {
	var said []string
	dir := t.TempDir()
	o, programs := fake(t, dir, &said)
	made := func() bool {
		t.Helper()
		said = nil
		_, err := o.assemble(programs, nil)
		require.NoError(t, err)
		return strings.Contains(strings.Join(said, "\n"), "image")
	}
	assert.True(t, made())
	assert.False(t, made(), "nothing has changed")

	index, err := Read(o.Out)
	require.NoError(t, err)
	blobs, err := filepath.Glob(filepath.Join(o.Out, "v2", "etcd", "blobs", "*"))
	require.NoError(t, err)
	for _, damage := range []string{filepath.Join(o.Out, index.Files[0].Path), manifestPath(o.Out, "pause", release.Pause), blobs[0], filepath.Join(o.Out, indexName)} {
		require.NoError(t, os.Remove(damage))
		assert.True(t, made(), "%s was removed", damage)
		assert.False(t, made())
	}
	require.NoError(t, os.WriteFile(programs[0].path, []byte("another kubeadm"), 0o755))
	assert.True(t, made(), "a program is another")

	_, err = Read(t.TempDir())
	require.ErrorContains(t, err, "make bundle")
}

func TestReadyPrograms(t *testing.T) {
	dir := t.TempDir()
	var said []string
	o := Options{Programs: dir, Say: func(format string, _ ...any) { said = append(said, format) }}
	p := program{name: "kubelet", version: "v1.36.3", pkg: "k8s.io/kubernetes/cmd/kubelet"}
	assert.Empty(t, o.ready(&p), "it is not there")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet"), []byte("... v1.35.0 ..."), 0o755))
	assert.Empty(t, o.ready(&p))
	assert.Len(t, said, 1, "the user is told why his program is not taken")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet"), []byte("... v1.36.3 ..."), 0o755))
	assert.Equal(t, filepath.Join(dir, "kubelet"), o.ready(&p))
}

func TestWhatIsNotAtHandIsNamed(t *testing.T) {
	cache, mine := t.TempDir(), t.TempDir()
	o := Options{Cache: cache, Programs: mine, Ready: true, Tools: "no such folder", Say: func(string, ...any) {}}
	for _, p := range programs() {
		switch p.name {
		case "kubelet":
			require.NoError(t, writeFile(filepath.Join(mine, p.name), []byte(p.version)))
		case "kubectl", "etcd":
		default:
			require.NoError(t, writeFile(filepath.Join(cache, "programs", p.name+"-"+p.version), []byte("built before")))
		}
	}
	_, err := o.collect(t.Context(), programs())
	var missing Missing
	require.ErrorAs(t, err, &missing)
	assert.Equal(t, Missing{"kubectl " + release.Kubernetes, "etcd " + release.Etcd}, missing, "all of it, and nothing was built")
	_, err = os.Stat(filepath.Join(cache, "programs", "kubelet-"+release.Kubernetes))
	require.NoError(t, err, "the user's own are kept for the run that builds the others")
	for _, m := range []string{"kubectl", "etcd"} {
		require.NoError(t, writeFile(filepath.Join(mine, m), []byte(release.Kubernetes+" "+release.Etcd)))
	}
	all, err := o.collect(t.Context(), programs())
	require.NoError(t, err)
	assert.Len(t, all, len(programs()))
}

func TestWhatOfAPackageIsInAnImage(t *testing.T) {
	for from, want := range map[string]string{
		"./usr/sbin/nft": "usr/sbin/nft", "./sbin/nft": "usr/sbin/nft",
		"./lib/x86_64-linux-gnu/libc.so.6":                "usr/lib/x86_64-linux-gnu/libc.so.6",
		"./lib64/ld-linux-x86-64.so.2":                    "usr/lib64/ld-linux-x86-64.so.2",
		"./usr/lib/x86_64-linux-gnu/xtables/libxt_set.so": "usr/lib/x86_64-linux-gnu/xtables/libxt_set.so",
		"./usr/share/doc/nftables/copyright":              "", "./etc/nftables.conf": "", "./usr/lib/x86_64-linux-gnu/gconv/UTF-16.so": "",
	} {
		got, ok := inImage(from)
		assert.Equal(t, want != "", ok, from)
		if ok {
			assert.Equal(t, want, got)
		}
	}
}

// The images of the conformance tests, with a stand-in for Debian's packages:
// their names, what is linked, and who is known in them.
func TestTestImages(t *testing.T) {
	for from, want := range map[string]string{
		"./usr/bin/dig": "usr/bin/dig", "./bin/nc.openbsd": "usr/bin/nc.openbsd", "./usr/sbin/ip": "usr/sbin/ip",
		"./usr/lib/x86_64-linux-gnu/libcurl.so.4": "usr/lib/x86_64-linux-gnu/libcurl.so.4", "./usr/share/doc/curl/copyright": "", "./usr/bin/": "",
	} {
		got, ok := inTestImage(from)
		assert.Equal(t, want, got, from)
		assert.Equal(t, want != "", ok, from)
	}
	busybox := plainFile("usr/bin/busybox", "#!/bin/sh\necho 'sh ls ip nc'\n")
	found := map[string]entry{"usr/bin/busybox": busybox, "usr/sbin/ip": plainFile("usr/sbin/ip", ""), "usr/bin/nc": link("usr/bin/nc", "nc.openbsd")}
	require.NoError(t, withBusybox(found))
	assert.Equal(t, "busybox", found["usr/bin/sh"].header.Linkname)
	assert.Equal(t, "nc.openbsd", found["usr/bin/nc"].header.Linkname, "what is there already stays")
	assert.NotContains(t, found, "usr/bin/ip")
	require.Error(t, withBusybox(map[string]entry{}))
	l, err := layer(writeEntries(found))
	require.NoError(t, err)
	r, err := l.Uncompressed()
	require.NoError(t, err)
	modes := map[string]int64{}
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.NotContains(t, modes, h.Name, "twice")
		modes[h.Name] = h.Mode
	}
	assert.EqualValues(t, 0o1777, modes["tmp/"])
	assert.Contains(t, repositories(), "promoterE2eRegistry: "+release.Registry+"/e2e-test-images\n")
	assert.Contains(t, repositories(), "gcRegistry: "+release.Registry+"\n", "the pause of the cluster")
}

func TestALibraryThatIsMissingIsFound(t *testing.T) {
	program, err := os.ReadFile("/bin/sh")
	require.NoError(t, err)
	if !bytes.HasPrefix(program, []byte("\x7fELF")) {
		t.Skip("SKIP: /bin/sh is no program of ELF here")
	}
	err = nftSet.complete(func(yield func(string, []byte) bool) { yield("usr/bin/sh", program) })
	require.ErrorContains(t, err, "libc.so.6 (for usr/bin/sh)")
}

// A folder with programs is named once: the next bundle finds them in the cache.
func TestReadyProgramsAreKept(t *testing.T) {
	o := Options{Programs: t.TempDir(), Cache: t.TempDir(), Say: t.Logf}
	require.NoError(t, os.MkdirAll(filepath.Join(o.Cache, "programs"), 0o755))
	for _, p := range programs() {
		path := filepath.Join(o.Programs, p.name)
		if p.module == own || p.module == application {
			path = filepath.Join(o.Cache, "programs", p.name+"-"+p.version)
		}
		require.NoError(t, os.WriteFile(path, []byte(p.name+" "+p.version), 0o755))
	}
	named, err := o.collect(t.Context(), programs())
	require.NoError(t, err)
	o.Programs = ""
	kept, err := o.collect(t.Context(), programs())
	require.NoError(t, err)
	require.Len(t, kept, len(named))
	for i := range kept {
		want, err := os.ReadFile(named[i].path)
		require.NoError(t, err)
		got, err := os.ReadFile(kept[i].path)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}
