// Package files keeps attached files in a folder, which may be a volume that
// many processes share over NFS. A file is received under a temporary name,
// checked, brought to the disk, and gets its own name by a rename: what has
// its own name is whole. Who the files belong to, it does not know.
package files

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gabriel-vasile/mimetype"
	"github.com/google/uuid"
)

// Why a file is not taken.
var (
	ErrTooLarge = errors.New("the file is larger than the limit")
	ErrEmpty    = errors.New("the file is empty")
	ErrType     = errors.New("files of this type are not taken")
)

// types are what is taken. Nothing of it runs in a browser that obeys nosniff.
var types = []string{
	"image/jpeg", "image/png", "image/gif", "image/webp",
	"application/pdf", "text/plain", "text/csv", "application/json", "application/zip",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"application/vnd.oasis.opendocument.text",
	"application/vnd.oasis.opendocument.spreadsheet",
	"application/vnd.oasis.opendocument.presentation",
}

// incoming is the folder of what is being received.
const incoming = "incoming"

// sniffed is how much of a file its type is told by, in bytes.
const sniffed = 3072

// grace is how long a file may be without an owner: longer than any upload.
const grace = 24 * time.Hour

// Folder is where the files are.
type Folder struct {
	root            *os.Root
	limit           int64
	thumbnailMemory int64
	thumbnails      sync.Mutex // one at a time: each needs much memory

	probe   sync.Mutex
	probing chan struct{} // closed when the probe that runs has ended
	probed  error
}

// Limits of what is received.
type Limits struct {
	Size            int64 // of one file, in bytes
	ThumbnailMemory int64 // what making a thumbnail may need, in bytes
}

// Open uses a folder, which is made where it is missing.
func Open(dir string, l Limits) (*Folder, error) {
	if err := os.MkdirAll(path.Join(dir, incoming), 0o750); err != nil {
		return nil, fmt.Errorf("the folder of attachments: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("the folder of attachments: %w", err)
	}
	return &Folder{root: root, limit: l.Size, thumbnailMemory: l.ThumbnailMemory}, nil
}

// Close gives the folder back.
func (f *Folder) Close() error { return f.root.Close() }

// Limit is the most that a file may have, in bytes.
func (f *Folder) Limit() int64 { return f.limit }

// Upload is a file that has been received and is on the disk, under a
// temporary name. It is kept or discarded.
type Upload struct {
	Size          int64
	SHA256        string // in hexadecimal digits
	Type          string
	Width, Height int // of the thumbnail; 0 means that there is none

	folder *Folder
	names  map[string]string // temporary names, by what follows the key in their own
}

// Receive reads a file to its end.
func (f *Folder) Receive(r io.Reader) (u *Upload, err error) {
	head := bufio.NewReaderSize(r, sniffed)
	start, err := head.Peek(sniffed)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("receiving a file: %w", err)
	}
	if len(start) == 0 {
		return nil, ErrEmpty
	}
	u = &Upload{folder: f, names: map[string]string{}}
	if u.Type, err = typeOf(start); err != nil {
		return nil, err
	}
	received := u // what a return of nil leaves to be discarded
	defer func() {
		if err != nil {
			err = errors.Join(err, received.Discard())
		}
	}()
	sum := sha256.New()
	err = u.stage("", func(w io.Writer) (err error) {
		u.Size, err = io.Copy(io.MultiWriter(w, sum), io.LimitReader(head, f.limit+1))
		if err == nil && u.Size > f.limit {
			return ErrTooLarge
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	u.SHA256 = hex.EncodeToString(sum.Sum(nil))
	if strings.HasPrefix(u.Type, "image/") {
		if err = u.thumbnail(); err != nil {
			return nil, err
		}
	}
	return u, nil
}

func typeOf(start []byte) (string, error) {
	found := mimetype.Detect(start)
	i := slices.IndexFunc(types, found.Is)
	if i < 0 {
		return "", fmt.Errorf("%w: %s", ErrType, found)
	}
	return types[i], nil
}

// stage writes a file under a temporary name and brings it to the disk.
func (u *Upload) stage(suffix string, write func(io.Writer) error) (err error) {
	name := path.Join(incoming, uuid.NewString())
	file, err := u.folder.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("receiving a file: %w", err)
	}
	u.names[suffix] = name
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("receiving a file: %w", err)
	}
	return nil
}

// Keep gives the file its own name. What had that name before was the same.
func (u *Upload) Keep(key string) error {
	dir := folderOf(key)
	if err := u.folder.root.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("keeping a file: %w", err)
	}
	for suffix, name := range u.names {
		if err := u.folder.root.Rename(name, path.Join(dir, key+suffix)); err != nil {
			return fmt.Errorf("keeping a file: %w", err)
		}
	}
	clear(u.names)
	return errors.Join(u.folder.sync(dir), u.folder.sync("."))
}

// sync brings the names in a folder to the disk.
func (f *Folder) sync(dir string) error {
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Discard removes what was not kept.
func (u *Upload) Discard() error {
	var failed error
	for suffix, name := range u.names {
		failed = errors.Join(failed, u.folder.root.Remove(name))
		delete(u.names, suffix)
	}
	return failed
}

// folderOf spreads files over folders. The end of a key is chance.
func folderOf(key string) string { return key[len(key)-2:] }

// Open opens a file.
func (f *Folder) Open(key string) (*os.File, error) {
	return f.root.Open(path.Join(folderOf(key), key))
}

// OpenThumbnail opens a picture's thumbnail, a JPEG.
func (f *Folder) OpenThumbnail(key string) (*os.File, error) {
	return f.root.Open(path.Join(folderOf(key), key+thumbnailSuffix))
}

// Remove removes a file and its thumbnail. It may be gone already.
func (f *Folder) Remove(key string) error {
	var failed error
	for _, suffix := range []string{"", thumbnailSuffix} {
		if err := f.root.Remove(path.Join(folderOf(key), key+suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Sweep removes what has been in the folder for a day and has no owner: files
// whose row was never written, or whose row is gone, and what was being
// received when a process died. known says which keys have an owner.
func (f *Folder) Sweep(ctx context.Context, known func(context.Context, []string) (map[string]bool, error)) (removed int, err error) {
	before := time.Now().Add(-grace)
	folders, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return 0, fmt.Errorf("sweeping attachments: %w", err)
	}
	for _, folder := range folders {
		if !folder.IsDir() || (len(folder.Name()) != 2 && folder.Name() != incoming) {
			continue // not ours: lost+found, snapshots
		}
		n, err := f.sweep(ctx, folder.Name(), before, known)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("sweeping attachments: %w", err)
		}
	}
	return removed, nil
}

func (f *Folder) sweep(ctx context.Context, dir string, before time.Time, known func(context.Context, []string) (map[string]bool, error)) (removed int, err error) {
	entries, err := fs.ReadDir(f.root.FS(), dir)
	if err != nil {
		return 0, err
	}
	for part := range slices.Chunk(entries, 100) {
		var old, keys []string
		for _, e := range part {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() && info.ModTime().Before(before) {
				old = append(old, e.Name())
				keys = append(keys, strings.TrimSuffix(e.Name(), thumbnailSuffix))
			}
		}
		owned := map[string]bool{}
		if dir != incoming {
			if owned, err = known(ctx, keys); err != nil {
				return removed, err
			}
		}
		for i, name := range old {
			if owned[keys[i]] {
				continue
			}
			// The same upload may have come again just now.
			name = path.Join(dir, name)
			if info, err := f.root.Stat(name); err != nil || !info.ModTime().Before(before) {
				continue
			}
			if err := f.root.Remove(name); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}

// Ready says whether a file can be written. A mount whose server is away holds
// whoever asks it, for minutes: only one probe runs at a time, and whoever
// does not want to wait for it learns that the folder is not ready.
func (f *Folder) Ready(ctx context.Context) error {
	f.probe.Lock()
	if f.probing == nil {
		f.probing = make(chan struct{})
		go f.runProbe(f.probing)
	}
	done := f.probing
	f.probe.Unlock()
	select {
	case <-done:
		f.probe.Lock()
		defer f.probe.Unlock()
		return f.probed
	case <-ctx.Done():
		return fmt.Errorf("the folder of attachments does not answer: %w", ctx.Err())
	}
}

func (f *Folder) runProbe(done chan struct{}) {
	name := path.Join(incoming, uuid.NewString())
	err := f.root.WriteFile(name, []byte("ready?"), 0o640)
	if err == nil {
		err = f.root.Remove(name)
	}
	if err != nil {
		err = fmt.Errorf("the folder of attachments: %w", err)
	}
	f.probe.Lock()
	f.probed, f.probing = err, nil
	f.probe.Unlock()
	close(done)
}
