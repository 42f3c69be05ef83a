// Package password hashes passwords with Argon2id and compares them. A hash is
// kept in the PHC string format, with the costs that it was made with.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Cost is how much work a hash is.
type Cost struct {
	Memory uint32 // KiB
	Time   uint32 // passes over the memory
}

// Recommended is the least that OWASP's cheat sheet on password storage asks
// of Argon2id with one lane.
var Recommended = Cost{Memory: 19 * 1024, Time: 2}

const saltSize, keySize = 16, 32

var encoding = base64.RawStdEncoding

// Hasher makes and compares hashes, only as many at a time as there are
// processors: more would take memory and finish no sooner.
type Hasher struct {
	cost  Cost
	slots chan struct{}
	dummy string // the hash of a password that nobody has
}

// New is a Hasher that makes hashes of that cost.
func New(cost Cost) *Hasher {
	h := &Hasher{cost: cost, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	h.dummy = h.format(make([]byte, saltSize), make([]byte, keySize))
	return h
}

func (h *Hasher) format(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, h.cost.Memory, h.cost.Time, encoding.EncodeToString(salt), encoding.EncodeToString(key))
}

// derive waits for its turn.
func (h *Hasher) derive(ctx context.Context, password string, salt []byte, c Cost) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
		return argon2.IDKey([]byte(password), salt, c.Time, c.Memory, 1, keySize), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hash is what to keep of a new password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key, err := h.derive(ctx, password, salt, h.cost)
	if err != nil {
		return "", err
	}
	return h.format(salt, key), nil
}

// Compare says whether a hash is a password's, and whether it should be made
// anew since it has another cost than today's. An empty hash, as of a user who
// does not exist, takes the same time and is nobody's.
func (h *Hasher) Compare(ctx context.Context, hash, password string) (same, outdated bool, err error) {
	nobody := hash == ""
	if nobody {
		hash = h.dummy
	}
	salt, want, cost, err := parse(hash)
	if err != nil {
		return false, false, err
	}
	key, err := h.derive(ctx, password, salt, cost)
	if err != nil {
		return false, false, err
	}
	same = subtle.ConstantTimeCompare(key, want) == 1 && !nobody
	return same, cost != h.cost, nil
}

var errFormat = errors.New("the stored hash is not one of Argon2id with one lane")

func parse(hash string) (salt, key []byte, c Cost, err error) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, nil, c, errFormat
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &c.Memory, &c.Time); err != nil {
		return nil, nil, c, errFormat
	}
	salt, saltErr := encoding.DecodeString(parts[4])
	key, keyErr := encoding.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(key) != keySize {
		return nil, nil, c, errFormat
	}
	return salt, key, c, nil
}
