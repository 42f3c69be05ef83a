// Package browser has a person use the application in a real browser, without
// a mouse: by what a label or a button says.
//
// By itself it starts the application on a port of its own. Pointed elsewhere
// it is the same person in front of any other one, as through an edge's VIP:
//
//	TODO_TEST_URL      where it is, like https://todo.example.org
//	TODO_TEST_RESOLVE  an address to go to whatever the name resolves to
//	TODO_TEST_KEY      the SHA-256 of the server's public key, in base64, where
//	                   this machine does not trust its certificate: nothing else
//	                   is accepted instead
//	TODO_TEST_RELOADS  how often the person may press reload in all, when
//	                   something goes wrong; 0 by default
//	TODO_TEST_SHOTS    a folder for pictures of each page: two languages, phone
//	                   and desktop, light and dark
package browser

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// patience is how long a person waits for one page.
const patience = 30 * time.Second

func TestVisit(t *testing.T) {
	p := open(t, site(t), "en")
	name := "person " + strconv.FormatInt(time.Now().UnixNano(), 36)
	p.visit("/")
	p.press("Sign up", "#name")
	p.fill("#name", name)
	p.fill("#password", "a good password")
	p.press("Sign up", ".lists, .empty")
	p.sees("Welcome!")

	p.fill("#title", "Brittany")
	p.press("Create", ".heading")
	for _, title := range []string{"Book the ferry", "Renew the passports"} {
		p.fill("#title", title)
		p.press("Add", ".items")
		p.sees(title)
	}
	p.press("Mark as done: Renew the passports", ".item.done")
	p.sees("1 open item")

	p.press("Book the ferry", "#attachments")
	p.choose("#file", "coast.png", coast(t))
	p.press("Attach", ".attachments img")
	p.sees("coast.png")
	p.seesPicture(".attachments img")

	p.fill("#q", "FERRY coast")
	p.press("Search", "[role=status]")
	p.sees("1 item for")
	p.sees("Book the ferry")

	p.press("Sign out", ".hero")
	p.sees("You are signed out.")
	p.visit("/sign-in")
	p.fill("#name", name)
	p.fill("#password", "a good password")
	p.press("Sign in", ".lists")
	p.sees("Brittany")
	p.press("Sign out", ".hero")
	t.Logf("the person pressed reload %d times", p.reloads)
}

// TestLooks takes pictures of the pages, for people to look at, and finds what
// is wider than its window.
func TestLooks(t *testing.T) {
	at := site(t)
	for _, look := range []struct {
		name          string
		language      string
		width, height int64
		scheme        string
	}{
		{"desktop-light-en", "en", 1100, 800, "light"}, {"phone-dark-fr", "fr", 360, 740, "dark"},
	} {
		t.Run(look.name, func(t *testing.T) {
			p := open(t, at, look.language)
			_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
				Width: look.width, Height: look.height, DeviceScaleFactor: 1, Mobile: look.width < 500})
			require.NoError(t, err)
			_, err = chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}})
			require.NoError(t, err)
			p.visit("/")
			p.looks(look.name, "1-home")
			p.visit("/sign-up")
			p.fill("#name", look.name+strconv.FormatInt(time.Now().UnixNano(), 36))
			p.fill("#password", "a good password")
			p.submit("main form", ".empty")
			for _, title := range []string{"Groceries", "A-list-with-a-name-that-has-not-a-single-blank-and-is-far-too-long-for-a-telephone"} {
				p.visit("/lists")
				p.fill("#title", title)
				p.submit("main form", ".heading")
			}
			for _, title := range []string{"Book the ferry", "Check the bicycles: brakes, lights, and the child seat that came loose last year"} {
				p.fill("#title", title)
				p.submit("main form.add", ".items")
			}
			p.looks(look.name, "3-list")
			p.visit("/lists")
			p.looks(look.name, "2-lists")
			p.then(".items", chromedp.Click(chromedp.CSS(".lists li:last-child a")))
			p.then("#attachments", chromedp.Click(chromedp.CSS(".item a.title")))
			p.choose("#file", "coast.png", coast(t))
			p.submit("form.upload", ".attachments img")
			p.looks(look.name, "4-item")
			// Somebody else writes between this page's being opened and its being sent.
			p.run(chromedp.SetValue(chromedp.CSS("input[name=version]"), "0", chromedp.NodeReady))
			p.fill("#title", "Another title")
			p.submit("main section form", ".columns.even")
			p.looks(look.name, "5-conflict")
			p.visit("/search?q=a")
			p.looks(look.name, "6-search")
		})
	}
}

// site is where the application is: as the environment says, or one of this
// test's own.
func site(t *testing.T) *url.URL {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip("SKIP: chromium is not on PATH (Debian's package chromium has it)")
	}
	if at := os.Getenv("TODO_TEST_URL"); at != "" {
		u, err := url.Parse(at)
		require.NoError(t, err)
		return u
	}
	program := filepath.Join(t.TempDir(), "todo")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	var log bytes.Buffer
	server := exec.Command(program)
	server.Env = append(os.Environ(), "TODO_LISTEN="+address, "TODO_DATA="+t.TempDir(), "POD_NAME=todo-5c9d", "NODE_NAME=worker1")
	server.Stderr = &log
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		require.NoError(t, server.Process.Signal(os.Interrupt))
		assert.NoError(t, server.Wait())
		assert.Contains(t, log.String(), "all requests have been answered")
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		answer, err := http.Get("http://" + address + "/readyz")
		if err == nil {
			err = answer.Body.Close()
		}
		return err == nil && answer.StatusCode == http.StatusOK
	}, patience, 20*time.Millisecond)
	return &url.URL{Scheme: "http", Host: address}
}

// person sits in front of a browser.
type person struct {
	t       *testing.T
	ctx     context.Context
	site    *url.URL
	may     int // reloads that are left
	reloads int
}

func open(t *testing.T, site *url.URL, language string) *person {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		// Nothing but the application is asked for anything.
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.NoFirstRun)
	if to := os.Getenv("TODO_TEST_RESOLVE"); to != "" {
		options = append(options, chromedp.Flag("host-resolver-rules", "MAP "+site.Hostname()+" "+to))
	}
	if key := os.Getenv("TODO_TEST_KEY"); key != "" {
		options = append(options, chromedp.Flag("ignore-certificate-errors-spki-list", key))
	}
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	may, err := strconv.Atoi(cmp.Or(os.Getenv("TODO_TEST_RELOADS"), "0"))
	require.NoError(t, err)
	p := &person{t: t, ctx: ctx, site: site, may: may}
	_, err = chromedp.Call(ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: network.Headers{"Accept-Language": language}})
	require.NoError(t, err)
	return p
}

// run does something and waits for what it says.
func (p *person) run(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	p.must(chromedp.Do(ctx, actions...))
}

// must ends the test, with a picture, where there is an error.
func (p *person) must(err error) {
	p.t.Helper()
	if err != nil {
		p.shot("failed-" + strings.ReplaceAll(p.t.Name(), "/", "-"))
		require.NoError(p.t, err)
	}
}

// ask runs something that has an answer.
func ask[T any](p *person, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	answer, err := chromedp.Run(ctx, action)
	p.must(err)
	return answer
}

func (p *person) visit(path string) {
	p.t.Helper()
	p.then("main", chromedp.Navigate(p.site.JoinPath("/").String()+strings.TrimPrefix(path, "/")))
}

// then does what leads to another page, and waits until that has a thing. A
// page that does not come, or says that something is wrong, is reloaded as
// long as the person may.
func (p *person) then(shows string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	try := func(actions ...chromedp.Action[chromedp.Void]) error {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		defer cancel()
		answer, err := chromedp.RunResponse(ctx, actions...)
		if err != nil {
			return err
		}
		if answer != nil && answer.Status >= http.StatusInternalServerError {
			return fmt.Errorf("%s: %d", answer.URL, answer.Status)
		}
		return chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(shows)))
	}
	err := try(actions...)
	for err != nil && p.may > 0 {
		p.t.Logf("reload, since: %v", err)
		p.may--
		p.reloads++
		pause := time.NewTimer(time.Second)
		<-pause.C
		// Asking again sends a form again, as a person who confirms it does.
		err = try(chromedp.Reload())
	}
	p.must(err)
}

// press presses the button or follows the link that says something: in the
// main part of the page, or in its header where that has none.
func (p *person) press(says, shows string) {
	p.t.Helper()
	in := fmt.Sprintf(`//*[(self::a or self::button) and normalize-space(.) = %q]`, says)
	xpath := fmt.Sprintf(`//main%[1]s | //header[not(//main%[1]s)]%[1]s`, in)
	p.then(shows, chromedp.Focus(chromedp.Search(xpath)), chromedp.KeyEvent("\r"))
}

// submit sends a form by the Enter key on its button.
func (p *person) submit(form, shows string) {
	p.t.Helper()
	p.then(shows, chromedp.Focus(chromedp.CSS(form+" button:not(.check):not(.link)")), chromedp.KeyEvent("\r"))
}

// fill types over what a field has, which the Tab key would have selected.
func (p *person) fill(field, text string) {
	p.t.Helper()
	ask(p, chromedp.Evaluate[bool](fmt.Sprintf(`(e => { e.focus(); e.select(); return true })(document.querySelector(%q))`, field)))
	p.run(chromedp.KeyEvent(text))
}

func (p *person) choose(field, name string, content []byte) {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), name)
	require.NoError(p.t, os.WriteFile(file, content, 0o600))
	p.run(chromedp.SetUploadFiles(chromedp.CSS(field), []string{file}))
}

func (p *person) sees(text string) {
	p.t.Helper()
	assert.Contains(p.t, ask(p, chromedp.Text(chromedp.CSS("main"))), text)
}

// seesPicture waits until a picture has been loaded and decoded.
func (p *person) seesPicture(selector string) {
	p.t.Helper()
	p.run(chromedp.ScrollIntoView(chromedp.CSS(selector)))
	ask(p, chromedp.Poll[bool](fmt.Sprintf(`(() => { const i = document.querySelector(%q); return i.complete && i.naturalWidth > 0 })()`, selector)))
}

// looks takes a picture, and finds a page that is wider than its window.
func (p *person) looks(look, name string) {
	p.t.Helper()
	wider := ask(p, chromedp.Evaluate[int](`document.documentElement.scrollWidth - window.innerWidth`))
	assert.LessOrEqual(p.t, wider, 0, "%s is %d pixels wider than its window", name, wider)
	p.shot(look + "-" + name)
}

// shot takes a picture of the whole page, where somebody wants to have it.
func (p *person) shot(name string) {
	dir := os.Getenv("TODO_TEST_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Logf("no picture of %s: %v", name, err)
		return
	}
	require.NoError(p.t, os.MkdirAll(dir, 0o755))
	require.NoError(p.t, os.WriteFile(filepath.Join(dir, name+".png"), picture, 0o644))
}

// coast is a picture to attach.
func coast(t *testing.T) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, 640, 400))
	for y := range 400 {
		for x := range 640 {
			c := color.RGBA{120, 180 + uint8(y/8), 235, 255}
			if y > 220 {
				c = color.RGBA{30, 90 + uint8(y%40), 150, 255}
			}
			if y > 330-x/8 {
				c = color.RGBA{210, 190, 140, 255}
			}
			p.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, p))
	return b.Bytes()
}
