package web

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/app/todo/store"
)

const (
	languageCookie = "language"
	noticeCookie   = "notice"

	// sessionFor is how long somebody stays signed in without coming by.
	sessionFor = 30 * 24 * time.Hour
	// formLimit is the most that a form without a file may have, in bytes.
	formLimit = 1 << 20
)

// protect refuses what another site has a browser send, and tells browsers
// what pages of ours may do: nothing but show themselves.
func (a *App) protect(next http.Handler) http.Handler {
	policy := "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	guarded := http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = patient{r.Body, http.NewResponseController(w), a.bodyPause}
		if !strings.HasSuffix(r.URL.Path, "/attachments") {
			r.Body = http.MaxBytesReader(w, r.Body, formLimit)
		}
		next.ServeHTTP(w, r)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		guarded.ServeHTTP(w, r)
	})
}

// patient gives a body as much time as it needs, as long as something comes.
// net/http takes the deadline away at the body's end.
type patient struct {
	io.ReadCloser
	control *http.ResponseController
	pause   time.Duration // how long it may bring nothing
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.control.SetReadDeadline(time.Now().Add(p.pause)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ReadCloser.Read(b)
}

// sessionCookie has the prefix that binds it to this host where there is TLS;
// browsers do not take it otherwise.
func (a *App) sessionCookie() string {
	if a.URL.Scheme == "https" {
		return "__Host-session"
	}
	return "session"
}

// cookie sets a cookie, or removes it where there is no value.
func (c *call) cookie(name, value string, age time.Duration) {
	seconds := int(age.Seconds())
	if value == "" {
		seconds = -1
	}
	http.SetCookie(c.w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: c.app.URL.Scheme == "https",
	})
}

// authenticate finds out who sent a request.
func (a *App) authenticate(c *call) error {
	cookie, err := c.Cookie(a.sessionCookie())
	if err != nil {
		return nil
	}
	token, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return nil
	}
	user, until, err := a.Store.Session(c.Context(), token)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c.User, c.token = user, token
	// Not at every request: this is a write.
	if time.Until(until) < sessionFor/2 {
		if err := a.Store.ExtendSession(c.Context(), token, time.Now().Add(sessionFor)); err != nil {
			return err
		}
		c.cookie(a.sessionCookie(), cookie.Value, sessionFor)
	}
	return nil
}

// startSession signs a user in, under a token that nobody had before.
func (c *call) startSession(user store.User) error {
	token := make([]byte, 32)
	rand.Read(token)
	if err := c.app.Store.CreateSession(c.Context(), token, user.ID, time.Now().Add(sessionFor)); err != nil {
		return err
	}
	c.cookie(c.app.sessionCookie(), base64.RawURLEncoding.EncodeToString(token), sessionFor)
	return nil
}

// notice keeps a text's id for the next page.
func (c *call) notice(id string) { c.cookie(noticeCookie, id, time.Minute) }

// notices are all that a page may be told to say: cookies come from outside.
var notices = []string{
	"notice.list_created", "notice.list_renamed", "notice.list_deleted", "notice.item_created", "notice.item_saved", "notice.item_deleted",
	"notice.item_done", "notice.item_open", "notice.attached", "notice.attachment_deleted", "notice.signed_out", "notice.password_changed", "notice.welcome",
}

func (c *call) takeNotice() string {
	cookie, err := c.Cookie(noticeCookie)
	if err != nil {
		return ""
	}
	c.cookie(noticeCookie, "", 0)
	if !slices.Contains(notices, cookie.Value) {
		return ""
	}
	return c.Locale.T(cookie.Value)
}

// attemptWindow is the time within which attempts to sign in are counted.
const attemptWindow = 15 * time.Minute

var errTooMany = errors.New("too many attempts")

// limits of signing in. Somebody who guesses one user's password is stopped
// soon, by few attempts from one address, or by many from everywhere; somebody
// who tries one password with many names by the limit of the address.
func (c *call) signInLimits(name string) []store.Limit {
	address := c.client().String()
	return []store.Limit{
		{Subject: "sign-in " + address + " " + name, Max: 5, Window: attemptWindow, Clears: true},
		{Subject: "sign-in name " + name, Max: 50, Window: attemptWindow},
		{Subject: "sign-in address " + address, Max: 50, Window: attemptWindow},
	}
}

func (c *call) signUpLimits() []store.Limit {
	return []store.Limit{{Subject: "sign-up address " + c.client().String(), Max: 20, Window: attemptWindow}}
}

// client is the address of who sent the request: that of the connection, or,
// where a proxy that is trusted has that, the last one before the proxies.
func (c *call) client() netip.Addr {
	port, err := netip.ParseAddrPort(c.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	client := port.Addr().Unmap()
	hops := strings.Split(strings.Join(c.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && c.app.trusted(client); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		client = hop.Unmap()
	}
	// Who has an IPv6 address has all of its network.
	if client.Is6() {
		if prefix, err := client.WithZone("").Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return client
}

func (a *App) trusted(address netip.Addr) bool {
	return slices.ContainsFunc(a.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address) })
}
