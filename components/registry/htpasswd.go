package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
	//lint:ignore SA1019 it is what bcrypt, the only hash that htpasswd may have here, is made of
	"golang.org/x/crypto/blowfish"
)

// cost of one hash, bcrypt's exponent. Every request is checked anew, and clients
// send many: 10 takes some 50 ms.
const cost = bcrypt.DefaultCost

// made is what the state keeps of a registry.
type made struct {
	// HTTP signs the state of uploads; all instances share it.
	HTTP string `json:"http"`
	// Salt is what users' salts are made of.
	Salt string `json:"salt"`
}

func newMade() (string, error) {
	var m made
	for _, s := range []*string{&m.HTTP, &m.Salt} {
		var err error
		if *s, err = newPassword(); err != nil {
			return "", err
		}
	}
	text, err := json.Marshal(m)
	return string(text), err
}

func madeOf(text string) (made, error) {
	var m made
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.HTTP == "" || m.Salt == "" {
		return m, fmt.Errorf("the registry's secrets in the state are damaged; restore the state from its last backup")
	}
	return m, nil
}

// newPassword is one that nobody has to type.
func newPassword() (string, error) {
	password := make([]byte, 24)
	_, err := rand.Read(password)
	return base64.RawURLEncoding.EncodeToString(password), err
}

// htpasswd is the file of users. The same users with the same passwords give the
// same file: salts are not drawn at each run, or every run would change it.
func htpasswd(salt string, names, passwords []string) (string, error) {
	var b strings.Builder
	for i, name := range names {
		if err := checkPassword(name, passwords[i]); err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, []byte(salt))
		mac.Write([]byte(name + "\x00" + passwords[i]))
		hash, err := hashed([]byte(passwords[i]), mac.Sum(nil)[:16])
		if err != nil {
			return "", err
		}
		if err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(passwords[i])); err != nil {
			return "", fmt.Errorf("the hash for %s is none of bcrypt's: %w", name, err)
		}
		fmt.Fprintf(&b, "%s:%s\n", name, hash)
	}
	return b.String(), nil
}

// hashed is bcrypt with a given salt, which x/crypto's cannot be told; it checks
// what comes out.
func hashed(password, salt []byte) (string, error) {
	key := append(password[:len(password):len(password)], 0)
	c, err := blowfish.NewSaltedCipher(key, salt)
	if err != nil {
		return "", err
	}
	for range 1 << cost {
		blowfish.ExpandKey(key, c)
		blowfish.ExpandKey(salt, c)
	}
	text := []byte("OrpheanBeholderScryDoubt")
	for i := 0; i < len(text); i += 8 {
		for range 64 {
			c.Encrypt(text[i:i+8], text[i:i+8])
		}
	}
	encoding := base64.NewEncoding("./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789").WithPadding(base64.NoPadding)
	return fmt.Sprintf("$2a$%02d$%s%s", cost, encoding.EncodeToString(salt), encoding.EncodeToString(text[:23])), nil
}

// checkPassword finds what bcrypt or a client would choke on.
func checkPassword(user, password string) error {
	if n := len(password); n < 8 || n > 72 {
		return fmt.Errorf("the password of %s has %d bytes; use 8 to 72", user, n)
	}
	for _, r := range password {
		if r < 0x20 || r == 0x7f || r == '\uFFFD' {
			return fmt.Errorf("the password of %s has a character that cannot be printed; use others", user)
		}
	}
	return nil
}

// dockerConfig is a .dockerconfigjson, as pods need it to pull.
func dockerConfig(host, user, password string) (string, error) {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	text, err := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"username": user, "password": password, "auth": auth}}})
	return string(text), err
}
