package files

import (
	"image"
	"image/color"
	_ "image/gif" // what image.Decode knows
	"image/jpeg"
	_ "image/png"
	"io"

	"github.com/bep/imagemeta"
	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

const thumbnailSuffix = ".thumbnail"

// thumbnailSize is the longer side, in pixels: a card of the page at twice its
// density.
const thumbnailSize = 480

// thumbnail makes a small picture of a picture, where that takes no more memory
// than it may. What cannot be decoded stays a file like any other.
func (u *Upload) thumbnail() error {
	file, err := u.folder.root.Open(u.names[""])
	if err != nil {
		return err
	}
	defer file.Close()
	config, format, err := image.DecodeConfig(file)
	if err != nil || memory(config) > u.folder.thumbnailMemory {
		return nil
	}
	u.folder.thumbnails.Lock()
	defer u.folder.thumbnails.Unlock()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	picture, _, err := image.Decode(file)
	if err != nil {
		return nil
	}
	small := turned(scaled(picture), orientation(file, format))
	u.Width, u.Height = small.Bounds().Dx(), small.Bounds().Dy()
	return u.stage(thumbnailSuffix, func(w io.Writer) error { return jpeg.Encode(w, small, &jpeg.Options{Quality: 82}) })
}

// memory is what decoding and scaling need, at most, in bytes.
func memory(c image.Config) int64 {
	each := int64(4)
	switch c.ColorModel {
	case color.GrayModel:
		each = 1
	case color.YCbCrModel:
		each = 3
	case color.RGBA64Model, color.NRGBA64Model:
		each = 8
	}
	// Scaling goes through lines of the small width, of four float64 a pixel.
	return int64(c.Width)*int64(c.Height)*each + thumbnailSize*int64(c.Height)*32
}

// scaled is the picture made to fit, on white where it lets look through.
func scaled(picture image.Image) *image.RGBA {
	w, h := picture.Bounds().Dx(), picture.Bounds().Dy()
	if longer := max(w, h); longer > thumbnailSize {
		w, h = max(1, w*thumbnailSize/longer), max(1, h*thumbnailSize/longer)
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(small, small.Bounds(), image.White, image.Point{}, draw.Src)
	draw.CatmullRom.Scale(small, small.Bounds(), picture, picture.Bounds(), draw.Over, nil)
	return small
}

var formats = map[string]imagemeta.ImageFormat{"jpeg": imagemeta.JPEG, "png": imagemeta.PNG, "webp": imagemeta.WebP}

// orientation is how a camera was held, in Exif's numbers from 1 (upright) to 8.
// Where that cannot be read the picture is taken as upright.
func orientation(file io.ReadSeeker, format string) int {
	found := 1
	kind, ok := formats[format]
	if !ok {
		return found
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return found
	}
	_, _ = imagemeta.Decode(imagemeta.Options{
		R: file, ImageFormat: kind, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool { return t.Tag == "Orientation" },
		HandleTag: func(t imagemeta.TagInfo) error {
			if n, ok := t.Value.(uint16); ok && n >= 1 && n <= 8 {
				found = int(n)
			}
			return imagemeta.ErrStopWalking
		},
	})
	return found
}

// turned is the picture as its photographer saw it.
func turned(p *image.RGBA, orientation int) *image.RGBA {
	w, h := p.Bounds().Dx(), p.Bounds().Dy()
	// From where each pixel of the new picture comes.
	var from func(x, y int) (int, int)
	switch orientation {
	case 2:
		from = func(x, y int) (int, int) { return w - 1 - x, y }
	case 3:
		from = func(x, y int) (int, int) { return w - 1 - x, h - 1 - y }
	case 4:
		from = func(x, y int) (int, int) { return x, h - 1 - y }
	case 5:
		from = func(x, y int) (int, int) { return y, x }
	case 6:
		from = func(x, y int) (int, int) { return y, h - 1 - x }
	case 7:
		from = func(x, y int) (int, int) { return w - 1 - y, h - 1 - x }
	case 8:
		from = func(x, y int) (int, int) { return w - 1 - y, x }
	default:
		return p
	}
	size := image.Pt(w, h)
	if orientation >= 5 {
		size = image.Pt(h, w)
	}
	out := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			out.SetRGBA(x, y, p.RGBAAt(from(x, y)))
		}
	}
	return out
}
