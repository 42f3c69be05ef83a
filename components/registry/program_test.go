package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/kubeadm/release"
)

const password = "not a secret, for the test"

// instances are real registries on one directory, as the component configures them.
type instances struct {
	t       *testing.T
	program string
	dir     string
	config  string
	hosts   []string
	running []*exec.Cmd
}

func start(t *testing.T, n int) *instances {
	t.Helper()
	home, err := os.UserHomeDir()
	require.NoError(t, err)
	s := &instances{t: t, program: filepath.Join(home, ".cache", "halinux", "programs", "registry-"+release.Distribution), dir: t.TempDir()}
	if _, err := os.Stat(s.program); err != nil {
		t.Skipf("SKIP: no registry that `make bundle` has built (%v)", err)
	}
	file, err := htpasswd("salt", []string{"pusher"}, []string{password})
	require.NoError(t, err)
	users := filepath.Join(s.dir, "htpasswd")
	require.NoError(t, os.WriteFile(users, []byte(file), 0o600))
	config, err := (&RegistryArgs{Host: "registry.example.org"}).config()
	require.NoError(t, err)
	s.config = filepath.Join(s.dir, "config.yml")
	config = strings.NewReplacer(root, filepath.Join(s.dir, "data"), secretPath+"/"+usersFile, users).Replace(config)
	require.Contains(t, config, users)
	require.NoError(t, os.WriteFile(s.config, []byte(config), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "data"), 0o700))
	for range n {
		s.hosts, s.running = append(s.hosts, freeAddress(t)), append(s.running, nil)
	}
	for i := range n {
		s.run(i)
	}
	t.Cleanup(func() {
		for _, c := range s.running {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// run starts an instance, and returns when it serves.
func (s *instances) run(i int) {
	s.t.Helper()
	c := exec.Command(s.program, "serve", s.config)
	c.Env = []string{
		"REGISTRY_HTTP_SECRET=shared", "REGISTRY_HTTP_ADDR=" + s.hosts[i], "REGISTRY_HTTP_DEBUG_ADDR=127.0.0.1:0", "OTEL_TRACES_EXPORTER=none",
	}
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	require.NoError(s.t, c.Start())
	s.running[i] = c
	require.Eventually(s.t, func() bool {
		r, err := http.Get("http://" + s.hosts[i] + "/")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond, "the registry does not serve: %s", &log)
}

// kill ends an instance as the loss of its node would.
func (s *instances) kill(i int) {
	_ = s.running[i].Process.Kill()
	_ = s.running[i].Wait()
}

var auth = remote.WithAuth(&authn.Basic{Username: "pusher", Password: password})

func (s *instances) ref(i int, what string) name.Reference {
	s.t.Helper()
	r, err := name.ParseReference(s.hosts[i]+"/"+what, name.Insecure)
	require.NoError(s.t, err)
	return r
}

// whole pulls an image by its digest, with all layers, and compares all checksums.
func (s *instances) whole(i int, repository string, image v1.Image) {
	s.t.Helper()
	digest, err := image.Digest()
	require.NoError(s.t, err)
	got, err := remote.Image(s.ref(i, repository+"@"+digest.String()), auth)
	require.NoError(s.t, err)
	require.NoError(s.t, validate.Image(got))
}

func (s *instances) collect(grace string) string {
	s.t.Helper()
	out, err := exec.Command(s.program, "collect", "--grace="+grace, "--wait=20s", s.config).CombinedOutput()
	require.NoError(s.t, err, string(out))
	return string(out)
}

func image(t *testing.T, layers int64) v1.Image {
	t.Helper()
	i, err := random.Image(64<<10, layers)
	require.NoError(t, err)
	return i
}

func TestPushAndPull(t *testing.T) {
	s := start(t, 2)
	one := image(t, 3)
	require.NoError(t, remote.Write(s.ref(0, "team/app:1"), one, auth))
	s.whole(1, "team/app", one)

	require.Error(t, remote.Write(s.ref(0, "team/app:2"), one), "without a name")
	wrong := remote.WithAuth(&authn.Basic{Username: "pusher", Password: "wrong"})
	_, err := remote.Image(s.ref(1, "team/app:1"), wrong)
	require.ErrorContains(t, err, "UNAUTHORIZED")
}

// request is one of a push, as a user.
func (s *instances) request(method, at string, body io.Reader, length int64) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, at, body)
	require.NoError(s.t, err)
	r.SetBasicAuth("pusher", password)
	r.ContentLength = length
	r.Header.Set("Content-Type", "application/octet-stream")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	_ = answer.Body.Close()
	return answer
}

// next is where an upload goes on, at an instance of one's choice.
func (s *instances) next(i int, r *http.Response) *url.URL {
	s.t.Helper()
	u, err := r.Location()
	require.NoError(s.t, err)
	u.Host = s.hosts[i]
	return u
}

// An upload in chunks goes on at the other instance, when its own is killed.
func TestChunkedUploadSurvivesItsInstance(t *testing.T) {
	s := start(t, 2)
	layers, err := image(t, 1).Layers()
	require.NoError(t, err)
	digest, err := layers[0].Digest()
	require.NoError(t, err)
	r, err := layers[0].Compressed()
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)

	answer := s.request(http.MethodPost, "http://"+s.hosts[0]+"/v2/team/app/blobs/uploads/", nil, 0)
	require.Equal(t, http.StatusAccepted, answer.StatusCode)
	half := len(content) / 2
	answer = s.request(http.MethodPatch, s.next(0, answer).String(), bytes.NewReader(content[:half]), int64(half))
	require.Equal(t, http.StatusAccepted, answer.StatusCode)
	s.kill(0)
	answer = s.request(http.MethodPatch, s.next(1, answer).String(), bytes.NewReader(content[half:]), int64(len(content)-half))
	require.Equal(t, http.StatusAccepted, answer.StatusCode, "0 blob upload unknown")
	last := s.next(1, answer)
	q := last.Query()
	q.Set("digest", digest.String())
	last.RawQuery = q.Encode()
	require.Equal(t, http.StatusCreated, s.request(http.MethodPut, last.String(), nil, 0).StatusCode)
	answer = s.request(http.MethodHead, "http://"+s.hosts[1]+"/v2/team/app/blobs/"+digest.String(), nil, 0)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	assert.Equal(t, int64(len(content)), answer.ContentLength)
}

// cut lets some bytes of a body pass, then kills the instance that reads them.
type cut struct {
	http.RoundTripper
	after func()
	done  bool
}

func (c *cut) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch && !c.done {
		c.done = true
		body := r.Body
		reader, writer := io.Pipe()
		r.Body = reader
		go func() {
			_, _ = io.CopyN(writer, body, 20<<10)
			c.after()
			_ = writer.CloseWithError(io.ErrUnexpectedEOF)
			_ = body.Close()
		}()
	}
	return c.RoundTripper.RoundTrip(r)
}

// A push that was cut by a kill succeeds when it is repeated, and all is whole.
func TestPushIsRepeatedAfterAKill(t *testing.T) {
	s := start(t, 2)
	one := image(t, 4)
	c := &cut{RoundTripper: http.DefaultTransport.(*http.Transport).Clone(), after: func() { s.kill(0) }}
	once := remote.WithRetryBackoff(remote.Backoff{Duration: time.Millisecond, Steps: 1})
	err := remote.Write(s.ref(0, "team/app:1"), one, auth, remote.WithTransport(c), remote.WithJobs(1), once)
	require.Error(t, err)
	_, err = remote.Image(s.ref(1, "team/app:1"), auth)
	require.ErrorContains(t, err, "MANIFEST_UNKNOWN", "half an image is none")
	require.NoError(t, remote.Write(s.ref(1, "team/app:1"), one, auth))
	s.run(0)
	s.whole(0, "team/app", one)
	s.whole(1, "team/app", one)
}

// What no image refers to goes, when its time is over; what one does stays.
func TestCollect(t *testing.T) {
	s := start(t, 2)
	kept, gone := image(t, 2), image(t, 2)
	require.NoError(t, remote.Write(s.ref(0, "team/app:kept"), kept, auth))
	require.NoError(t, remote.Write(s.ref(0, "team/app:gone"), gone, auth))
	s.whole(1, "team/app", gone)
	digest, err := gone.Digest()
	require.NoError(t, err)
	require.NoError(t, remote.Delete(s.ref(1, "team/app@"+digest.String()), auth))
	assert.Contains(t, s.collect("1h"), " 0 blobs deleted, 4 kept", "they are young: two layers, the settings and the manifest")
	assert.Contains(t, s.collect("0s"), " 4 blobs deleted, 0 kept", "and then old")
	s.whole(0, "team/app", kept)
	s.whole(1, "team/app", kept)
	require.NoError(t, remote.Write(s.ref(1, "team/app:again"), gone, auth), "no instance believes that it has them still")
	s.whole(0, "team/app", gone)
}

// A client that was told of an old blob can count on it: nothing but the question
// makes it young.
func TestAskingKeepsABlob(t *testing.T) {
	s := start(t, 1)
	one := image(t, 1)
	layers, err := one.Layers()
	require.NoError(t, err)
	require.NoError(t, remote.WriteLayer(s.ref(0, "team/app").Context(), layers[0], auth))
	digest, err := layers[0].Digest()
	require.NoError(t, err)
	file := filepath.Join(s.dir, "data/docker/registry/v2/blobs/sha256", digest.Hex[:2], digest.Hex, "data")
	old := time.Now().Add(-100 * time.Hour)
	require.NoError(t, os.Chtimes(file, old, old))
	require.Equal(t, http.StatusOK, s.request(http.MethodHead, fmt.Sprintf("http://%s/v2/team/app/blobs/%s", s.hosts[0], digest), nil, 0).StatusCode)
	assert.Contains(t, s.collect("24h"), " 0 blobs deleted, 1 kept")
	require.NoError(t, os.Chtimes(file, old, old))
	assert.Contains(t, s.collect("24h"), " 1 blobs deleted, 0 kept")
}

// While it is collected, a push waits; it is not refused.
func TestPushWaitsForACollection(t *testing.T) {
	s := start(t, 1)
	lock, err := os.OpenFile(filepath.Join(s.dir, "data", "gate.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	one := image(t, 1)
	done := make(chan error, 1)
	go func() { done <- remote.Write(s.ref(0, "team/app:1"), one, auth) }()
	// Who only reads does not wait; and this is more than the push asks for.
	for range 25 {
		require.Equal(t, http.StatusOK, s.request(http.MethodGet, "http://"+s.hosts[0]+"/v2/", nil, 0).StatusCode)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	require.NoError(t, lock.Close())
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for ever")
	}
	s.whole(0, "team/app", one)
}

// Pushes beside collections that have no mercy but for the grace.
func TestPushesBesideCollections(t *testing.T) {
	s := start(t, 2)
	done := make(chan error, 2)
	for i := range 2 {
		go func() {
			for j := range 2 {
				one, err := random.Image(8<<10, 2)
				if err == nil {
					err = remote.Write(s.ref(i, fmt.Sprintf("team/app%d:%d", i, j)), one, auth)
				}
				if err == nil {
					var got v1.Image
					if got, err = remote.Image(s.ref(1-i, fmt.Sprintf("team/app%d:%d", i, j)), auth); err == nil {
						err = validate.Image(got)
					}
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for ended := 0; ended < 2; {
		s.collect("1h")
		select {
		case err := <-done:
			require.NoError(t, err)
			ended++
		default:
		}
	}
}
