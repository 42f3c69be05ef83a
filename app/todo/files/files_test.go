package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func open(t *testing.T, l Limits) (*Folder, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "volume")
	f, err := Open(dir, l)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f, dir
}

// names are the files below a folder.
func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}))
	return out
}

const key = "0190e5a4-8a8c-7d3e-9a1b-0c1d2e3f4a5b-0123456789abcdef"

func TestReceiveKeepRemove(t *testing.T) {
	f, dir := open(t, Limits{Size: 100})
	u, err := f.Receive(strings.NewReader("some text"))
	require.NoError(t, err)
	require.Equal(t, "text/plain", u.Type)
	require.EqualValues(t, 9, u.Size)
	require.Equal(t, "b94f6f125c79e3a5ffaa826f584c10d52ada669e6762051b826b55776d05aed2", u.SHA256)
	require.Len(t, names(t, dir), 1, "under a temporary name")
	require.NoError(t, u.Keep(key))
	require.NoError(t, u.Discard(), "nothing is left to discard")
	require.Equal(t, []string{"ef/" + key}, names(t, dir))
	file, err := f.Open(key)
	require.NoError(t, err)
	text, err := io.ReadAll(file)
	require.NoError(t, errors.Join(err, file.Close()))
	require.Equal(t, "some text", string(text))

	again, err := f.Receive(strings.NewReader("some text"))
	require.NoError(t, err)
	require.NoError(t, again.Keep(key), "the same upload again")
	require.Len(t, names(t, dir), 1)
	for range 2 {
		require.NoError(t, f.Remove(key))
	}
	require.Empty(t, names(t, dir))
	_, err = f.Open("../" + key)
	require.Error(t, err)
}

func TestReceiveRefuses(t *testing.T) {
	f, dir := open(t, Limits{Size: 10_000})
	broken := errors.New("the connection broke")
	for name, c := range map[string]struct {
		from io.Reader
		err  error
	}{
		"empty":     {strings.NewReader(""), ErrEmpty},
		"large":     {strings.NewReader(strings.Repeat("a", 10_001)), ErrTooLarge},
		"html":      {strings.NewReader("<html><body>"), ErrType},
		"svg":       {strings.NewReader(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`), ErrType},
		"program":   {strings.NewReader("\x7fELF\x02\x01\x01\x00"), ErrType},
		"cut short": {io.MultiReader(strings.NewReader(strings.Repeat("a", 5_000)), failing{broken}), broken},
	} {
		_, err := f.Receive(c.from)
		assert.ErrorIs(t, err, c.err, name)
	}
	require.Empty(t, names(t, dir))
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

func encoded(t *testing.T, p image.Image, as func(io.Writer, image.Image) error) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, as(&b, p))
	return b.Bytes()
}

func asJPEG(w io.Writer, p image.Image) error { return jpeg.Encode(w, p, nil) }
func asGIF(w io.Writer, p image.Image) error  { return gif.Encode(w, p, nil) }

func TestThumbnails(t *testing.T) {
	f, _ := open(t, Limits{Size: 10 << 20, ThumbnailMemory: 40 << 20})
	wide := image.NewRGBA(image.Rect(0, 0, 1000, 500))
	for name, c := range map[string]struct {
		data []byte
		size image.Point
	}{
		"png":   {encoded(t, wide, png.Encode), image.Pt(480, 240)},
		"jpeg":  {encoded(t, wide, asJPEG), image.Pt(480, 240)},
		"gif":   {encoded(t, wide, asGIF), image.Pt(480, 240)},
		"small": {encoded(t, image.NewGray(image.Rect(0, 0, 3, 7)), png.Encode), image.Pt(3, 7)},
		"thin":  {encoded(t, image.NewGray(image.Rect(0, 0, 5000, 1)), png.Encode), image.Pt(480, 1)},
		"half":  {encoded(t, wide, png.Encode)[:100], image.Point{}},
		// Scaling it would need 55 MB; of a bomb nothing but the header is read.
		"large": {encoded(t, image.NewGray(image.Rect(0, 0, 3000, 3000)), png.Encode), image.Point{}},
		"bomb":  {header(60_000, 60_000), image.Point{}},
	} {
		u, err := f.Receive(bytes.NewReader(c.data))
		require.NoError(t, err, name)
		assert.Equal(t, c.size, image.Pt(u.Width, u.Height), name)
		require.NoError(t, u.Keep(key))
		if c.size.X > 0 {
			file, err := f.OpenThumbnail(key)
			require.NoError(t, err)
			small, err := jpeg.Decode(file)
			require.NoError(t, errors.Join(err, file.Close()))
			assert.Equal(t, image.Rectangle{Max: c.size}, small.Bounds(), name)
		}
		require.NoError(t, f.Remove(key))
	}
}

// header is the start of a PNG of a size.
func header(w, h uint32) []byte {
	small := bytes.NewBuffer(nil)
	_ = png.Encode(small, image.NewGray(image.Rect(0, 0, 1, 1)))
	b := small.Bytes()
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	return b
}

// A picture taken with a camera held otherwise stands upright.
func TestOrientation(t *testing.T) {
	f, _ := open(t, Limits{Size: 1 << 20, ThumbnailMemory: 40 << 20})
	// Red in the left upper quarter, white elsewhere.
	p := image.NewRGBA(image.Rect(0, 0, 64, 32))
	for x := range 64 {
		for y := range 32 {
			p.Set(x, y, color.White)
			if x < 32 && y < 16 {
				p.Set(x, y, color.RGBA{255, 0, 0, 255})
			}
		}
	}
	plain := encoded(t, p, asJPEG)
	// Where the red quarter is when each orientation is undone: right, below.
	for orientation, at := range [][2]bool{1: {}, 2: {true, false}, 3: {true, true}, 4: {false, true}, 5: {}, 6: {true, false}, 7: {true, true}, 8: {false, true}} {
		if orientation == 0 {
			continue
		}
		u, err := f.Receive(bytes.NewReader(withExif(plain, byte(orientation))))
		require.NoError(t, err)
		want := image.Pt(64, 32)
		if orientation >= 5 {
			want = image.Pt(32, 64)
		}
		require.Equal(t, want, image.Pt(u.Width, u.Height), "orientation %d", orientation)
		require.NoError(t, u.Keep(key))
		file, err := f.OpenThumbnail(key)
		require.NoError(t, err)
		small, err := jpeg.Decode(file)
		require.NoError(t, errors.Join(err, file.Close()))
		for _, right := range []bool{false, true} {
			for _, below := range []bool{false, true} {
				x, y := want.X/4, want.Y/4
				if right {
					x += want.X / 2
				}
				if below {
					y += want.Y / 2
				}
				_, green, _, _ := small.At(x, y).RGBA()
				assert.Equal(t, at == [2]bool{right, below}, green < 0x8000, "orientation %d, right %t, below %t", orientation, right, below)
			}
		}
	}
}

// withExif puts an Exif segment with nothing but an orientation into a JPEG.
func withExif(plain []byte, orientation byte) []byte {
	tiff := []byte{'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0}
	segment := append([]byte("Exif\x00\x00"), tiff...)
	out := append([]byte{}, plain[:2]...)
	out = append(out, 0xff, 0xe1, byte((len(segment)+2)>>8), byte(len(segment)+2))
	return append(append(out, segment...), plain[2:]...)
}

func TestSweep(t *testing.T) {
	f, dir := open(t, Limits{Size: 100})
	age := func(name string, by time.Duration) {
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now().Add(-by)))
	}
	keep := func(k string) {
		u, err := f.Receive(strings.NewReader("text"))
		require.NoError(t, err)
		require.NoError(t, u.Keep(k))
	}
	owned, orphan, young := "a-ef", "b-ef", "c-ef"
	for _, k := range []string{owned, orphan, young} {
		keep(k)
	}
	half, err := f.Receive(strings.NewReader("half"))
	require.NoError(t, err)
	old, err := f.Receive(strings.NewReader("half, long ago"))
	require.NoError(t, err)
	foreign := filepath.Join(dir, "lost+found")
	require.NoError(t, os.Mkdir(foreign, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "x"), nil, 0o600))
	for _, k := range []string{owned, orphan} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "ef", k+thumbnailSuffix), nil, 0o600))
	}
	for _, name := range []string{"ef/" + owned, "ef/" + owned + thumbnailSuffix, "ef/" + orphan, "ef/" + orphan + thumbnailSuffix, old.names[""], "lost+found/x"} {
		age(name, 25*time.Hour)
	}
	known := func(_ context.Context, keys []string) (map[string]bool, error) {
		require.NotContains(t, keys, young)
		return map[string]bool{owned: true}, nil
	}
	removed, err := f.Sweep(t.Context(), known)
	require.NoError(t, err)
	require.Equal(t, 3, removed)
	require.ElementsMatch(t, []string{"ef/" + owned, "ef/" + owned + thumbnailSuffix, "ef/" + young, half.names[""], "lost+found/x"}, names(t, dir))

	// A database that does not answer removes nothing.
	age("ef/"+young, 25*time.Hour)
	_, err = f.Sweep(t.Context(), func(context.Context, []string) (map[string]bool, error) { return nil, errors.New("away") })
	require.ErrorContains(t, err, "away")
	require.Len(t, names(t, dir), 5)
}

// A volume whose server is away holds one probe, not one for each question.
func TestReadyDoesNotPileUp(t *testing.T) {
	f, dir := open(t, Limits{})
	require.NoError(t, f.Ready(t.Context()))
	require.Empty(t, names(t, dir))

	hangs := make(chan struct{})
	f.probing = hangs // as long as this is open
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for range 3 {
		require.ErrorIs(t, f.Ready(ctx), context.DeadlineExceeded)
	}
	require.Equal(t, hangs, f.probing)
	f.probing = nil
	require.NoError(t, f.Ready(t.Context()))
}
