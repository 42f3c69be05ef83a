package web

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/halinux/halinux/app/todo/files"
	"github.com/halinux/halinux/app/todo/store"
)

// attachmentNameMost is how many characters of a file's name are kept.
const attachmentNameMost = 120

// attach receives a file. The order makes it whole or nothing: the content is
// brought to the disk under its own name, then the row is written. What a
// crash leaves between the two is a file without a row, which is swept.
func (a *App) attach(c *call) error {
	item, err := a.Store.Item(c.Context(), c.User.ID, c.PathValue("id"))
	if err != nil {
		return err
	}
	id, name, upload, err := a.receive(c)
	if err != nil {
		text := c.uploadProblem(err)
		if text == "" {
			return err
		}
		body, err := a.itemBody(c)
		if err != nil {
			return err
		}
		return c.invalid("item", body.Item.Title, body, []problem{{"file", text}})
	}
	defer func() {
		if err := upload.Discard(); err != nil {
			a.Log.WarnContext(c.Context(), "an upload was left behind", "error", err)
		}
	}()
	// The same form with another file is another attachment.
	there, err := a.Store.Attachment(c.Context(), c.User.ID, id)
	switch {
	case err == nil && (there.SHA256 != upload.SHA256 || there.Item != item.ID):
		id = store.NewID()
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := upload.Keep(store.Key(id, upload.SHA256)); err != nil {
		return err
	}
	err = a.Store.CreateAttachment(c.Context(), c.User.ID, store.Attachment{
		ID: id, Item: item.ID, Name: name, Type: upload.Type, Size: upload.Size, SHA256: upload.SHA256,
		Width: upload.Width, Height: upload.Height,
	})
	if err != nil {
		return err
	}
	a.metrics.received.Add(float64(upload.Size))
	c.notice("notice.attached")
	return c.redirect("/items/" + item.ID + "#attachments")
}

var errNoFile = errors.New("the form has no file")

// receive reads the form as it comes in. The id comes before the file.
func (a *App) receive(c *call) (id, name string, upload *files.Upload, err error) {
	// The form's other fields, and what frames the file, are small.
	c.Body = http.MaxBytesReader(c.w, c.Body, a.Files.Limit()+formLimit)
	form, err := c.MultipartReader()
	if err != nil {
		return "", "", nil, errNoFile
	}
	id = store.NewID()
	for {
		part, err := form.NextPart()
		if err == io.EOF {
			return "", "", nil, errNoFile
		}
		if err != nil {
			return "", "", nil, err
		}
		switch part.FormName() {
		case "id":
			text, err := io.ReadAll(io.LimitReader(part, 64))
			if err != nil {
				return "", "", nil, err
			}
			if store.ValidID(string(text)) {
				id = string(text)
			}
		case "file":
			if part.FileName() == "" {
				return "", "", nil, errNoFile
			}
			upload, err := a.Files.Receive(part)
			return id, fileName(part), upload, err
		}
	}
}

// fileName is what a file is called from here on: without folders and without
// what cannot be seen.
func fileName(part *multipart.Part) string {
	name := path.Base(strings.ReplaceAll(part.FileName(), `\`, "/"))
	name = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || strings.ContainsRune(`"<>:|?*`, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "")))
	if runes := []rune(name); len(runes) > attachmentNameMost {
		ext := path.Ext(name)
		if len(ext) > 10 {
			ext = ""
		}
		name = string(runes[:attachmentNameMost-len([]rune(ext))]) + ext
	}
	if name == "" || name == "." || name == "/" {
		name = "file"
	}
	return name
}

// uploadProblem is what to say to who sent a file that is not taken; empty
// where it is not theirs to mend.
func (c *call) uploadProblem(err error) string {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errNoFile):
		return c.Locale.T("problem.file_missing")
	case errors.Is(err, files.ErrEmpty):
		return c.Locale.T("problem.file_empty")
	case errors.Is(err, files.ErrType):
		return c.Locale.T("problem.file_type")
	case errors.Is(err, files.ErrTooLarge), errors.As(err, &tooLarge):
		return c.Locale.T("problem.file_large", "Limit", c.Locale.Size(c.app.Files.Limit()))
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		c.app.Log.ErrorContext(c.Context(), "there is no room for attachments", "error", err)
		return c.Locale.T("problem.file_room")
	}
	return ""
}

// attachment sends a file as it was attached.
func (a *App) attachment(c *call) error { return a.send(c, false) }

// thumbnail sends a picture's small picture.
func (a *App) thumbnail(c *call) error { return a.send(c, true) }

func (a *App) send(c *call, thumbnail bool) error {
	att, err := a.Store.Attachment(c.Context(), c.User.ID, c.PathValue("id"))
	if err != nil {
		return err
	}
	open, kind, tag := a.Files.Open, att.Type, att.SHA256
	if thumbnail {
		if att.Width == 0 {
			return store.ErrNotFound
		}
		open, kind, tag = a.Files.OpenThumbnail, "image/jpeg", "thumbnail-"+att.SHA256
	}
	file, err := open(att.Key())
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	h := c.w.Header()
	disposition := "attachment"
	if strings.HasPrefix(kind, "image/") {
		disposition = "inline"
	}
	if strings.HasPrefix(kind, "text/") {
		kind += "; charset=utf-8"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": att.Name}))
	// Even what a browser shows by itself may do nothing here.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; sandbox")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Cookie")
	h.Set("ETag", `"`+tag+`"`)
	http.ServeContent(c.w, c.Request, "", time.Time{}, file)
	return nil
}

func (a *App) deleteAttachment(c *call) error {
	att, err := a.Store.DeleteAttachment(c.Context(), c.User.ID, c.PathValue("id"))
	if errors.Is(err, store.ErrNotFound) && store.ValidID(c.FormValue("item")) {
		return c.redirect("/items/" + c.FormValue("item") + "#attachments") // it was deleted already
	}
	if err != nil {
		return err
	}
	a.removeFiles(c, []store.Attachment{att})
	c.notice("notice.attachment_deleted")
	return c.redirect("/items/" + att.Item + "#attachments")
}

// removeFiles removes what no row refers to any more. What cannot be removed
// now is swept later.
func (a *App) removeFiles(c *call, orphans []store.Attachment) {
	for _, att := range orphans {
		if err := a.Files.Remove(att.Key()); err != nil && !errors.Is(err, os.ErrNotExist) {
			a.Log.WarnContext(c.Context(), "a file was left behind", "error", err)
		}
	}
}
