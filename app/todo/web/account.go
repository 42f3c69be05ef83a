package web

import (
	"cmp"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/halinux/halinux/app/todo/store"
)

// What names and passwords may be. A long password costs no more than a short
// one to hash; the most keeps a form from being work.
const (
	nameMost, passwordLeast, passwordMost = 64, 10, 256
)

func (a *App) home(c *call) error {
	if c.User.ID != "" {
		return c.redirect("/lists")
	}
	return c.ok("home", c.Locale.T("home.title"), nil)
}

// credentials are what the forms to sign up and to sign in have.
type credentials struct {
	Name string
	Next string // where to go then
}

func (c *call) credentials() credentials {
	return credentials{Name: c.line("name"), Next: localPath(c.FormValue("next"), "/lists")}
}

func (a *App) signUpForm(c *call) error {
	return c.ok("sign-up", c.Locale.T("sign_up.title"), c.credentials())
}

func (a *App) signUp(c *call) error {
	form := c.credentials()
	secret := c.FormValue("password")
	var wrong []problem
	if form.Name == "" || utf8.RuneCountInString(form.Name) > nameMost {
		wrong = append(wrong, problem{"name", c.Locale.T("problem.name", "Most", nameMost)})
	}
	wrong = append(wrong, c.passwordProblems("password", secret)...)
	if len(wrong) > 0 {
		return c.invalid("sign-up", c.Locale.T("sign_up.title"), form, wrong)
	}
	if _, allowed, err := a.Store.Attempt(c.Context(), c.signUpLimits()); err != nil || !allowed {
		return cmp.Or(err, errTooMany)
	}
	hash, err := a.Hasher.Hash(c.Context(), secret)
	if err != nil {
		return err
	}
	user, err := a.Store.CreateUser(c.Context(), store.User{ID: c.newID(), Name: form.Name, Password: hash})
	if errors.Is(err, store.ErrNameTaken) {
		// The same form may have come again, since its answer was lost. Then its
		// id and its password are those of the user.
		if user, err = a.Store.UserByName(c.Context(), form.Name); err != nil {
			return err
		}
		same, _, err := a.Hasher.Compare(c.Context(), user.Password, secret)
		if err != nil {
			return err
		}
		if !same || user.ID != c.FormValue("id") {
			return c.invalid("sign-up", c.Locale.T("sign_up.title"), form, []problem{{"name", c.Locale.T("problem.name_taken")}})
		}
	}
	if err != nil {
		return err
	}
	if err := c.startSession(user); err != nil {
		return err
	}
	c.notice("notice.welcome")
	return c.redirect(form.Next)
}

func (c *call) passwordProblems(field, secret string) []problem {
	n := utf8.RuneCountInString(secret)
	if n >= passwordLeast && n <= passwordMost {
		return nil
	}
	return []problem{{field, c.Locale.T("problem.password", "Least", strconv.Itoa(passwordLeast), "Most", strconv.Itoa(passwordMost))}}
}

func (a *App) signInForm(c *call) error {
	return c.ok("sign-in", c.Locale.T("sign_in.title"), c.credentials())
}

func (a *App) signIn(c *call) error {
	form := c.credentials()
	limits := c.signInLimits(form.Name)
	attempt, allowed, err := a.Store.Attempt(c.Context(), limits)
	if err != nil {
		return err
	}
	if !allowed {
		a.metrics.signIns.WithLabelValues("limited").Inc()
		return errTooMany
	}
	user, err := a.Store.UserByName(c.Context(), form.Name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	secret := c.FormValue("password")
	same, outdated, err := a.Hasher.Compare(c.Context(), user.Password, secret)
	if err != nil {
		return err
	}
	if !same {
		a.metrics.signIns.WithLabelValues("refused").Inc()
		return c.invalid("sign-in", c.Locale.T("sign_in.title"), form, []problem{{"name", c.Locale.T("problem.sign_in")}})
	}
	if outdated {
		hash, err := a.Hasher.Hash(c.Context(), secret)
		if err == nil {
			err = a.Store.UpgradeHash(c.Context(), user.ID, user.Password, hash)
		}
		if err != nil {
			return err
		}
	}
	if err := a.Store.Succeeded(c.Context(), attempt, limits); err != nil {
		return err
	}
	if err := c.startSession(user); err != nil {
		return err
	}
	a.metrics.signIns.WithLabelValues("accepted").Inc()
	return c.redirect(form.Next)
}

func (a *App) signOut(c *call) error {
	if c.token != nil {
		if err := a.Store.DeleteSession(c.Context(), c.token); err != nil {
			return err
		}
	}
	c.cookie(a.sessionCookie(), "", 0)
	c.notice("notice.signed_out")
	return c.redirect("/")
}

func (a *App) account(c *call) error {
	return c.ok("account", c.Locale.T("account.title"), nil)
}

func (a *App) changePassword(c *call) error {
	limits := c.signInLimits(c.User.Name)
	attempt, allowed, err := a.Store.Attempt(c.Context(), limits)
	if err != nil || !allowed {
		return cmp.Or(err, errTooMany)
	}
	var wrong []problem
	same, _, err := a.Hasher.Compare(c.Context(), c.User.Password, c.FormValue("password"))
	if err != nil {
		return err
	}
	if !same {
		wrong = append(wrong, problem{"password", c.Locale.T("problem.old_password")})
	}
	secret := c.FormValue("new-password")
	wrong = append(wrong, c.passwordProblems("new-password", secret)...)
	if len(wrong) > 0 {
		return c.invalid("account", c.Locale.T("account.title"), nil, wrong)
	}
	hash, err := a.Hasher.Hash(c.Context(), secret)
	if err != nil {
		return err
	}
	if err := a.Store.SetPassword(c.Context(), c.User.ID, hash, c.token); err != nil {
		return err
	}
	if err := a.Store.Succeeded(c.Context(), attempt, limits); err != nil {
		return err
	}
	c.notice("notice.password_changed")
	return c.redirect("/account")
}

// language keeps the language that somebody chose.
func (a *App) language(c *call) error {
	for _, l := range a.locales.All() {
		if l.Tag == c.FormValue("language") {
			c.cookie(languageCookie, l.Tag, 365*24*time.Hour)
		}
	}
	return c.redirect(localPath(c.FormValue("next"), "/"))
}
