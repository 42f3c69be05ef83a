package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed templates static
var embedded embed.FS

// asset is a file of ours that pages refer to.
type asset struct {
	path string // with the content's sum in it, so that it may be kept for ever
	name string
	data []byte
}

func loadAssets() (map[string]asset, error) {
	assets := map[string]asset{}
	entries, err := fs.ReadDir(embedded, "static")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		data, err := embedded.ReadFile("static/" + e.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		ext := path.Ext(e.Name())
		name := strings.TrimSuffix(e.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext
		assets[e.Name()] = asset{"/static/" + name, name, data}
	}
	return assets, nil
}

// asset serves a file of ours. A page of another version may ask for its own
// file while versions change; it gets ours, and does not keep it.
func (a *App) asset(w http.ResponseWriter, r *http.Request) {
	asked := r.PathValue("name")
	for own, f := range a.static {
		stem, ext := strings.TrimSuffix(own, path.Ext(own)), path.Ext(own)
		if !strings.HasPrefix(asked, stem+"-") || path.Ext(asked) != ext {
			continue
		}
		w.Header().Set("Cache-Control", "no-cache")
		if asked == f.name {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		http.ServeContent(w, r, own, time.Time{}, bytes.NewReader(f.data))
		return
	}
	http.NotFound(w, r)
}

// parseTemplates makes a page of each file, with the layout and the parts that
// pages share.
func parseTemplates() (map[string]*template.Template, error) {
	shared, err := template.New("").ParseFS(embedded, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("the templates: %w", err)
	}
	names, err := fs.Glob(embedded, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := map[string]*template.Template{}
	for _, name := range names {
		page := strings.TrimSuffix(path.Base(name), ".html")
		if page == "layout" || page == "parts" {
			continue
		}
		t, err := shared.Clone()
		if err == nil {
			t, err = t.ParseFS(embedded, name)
		}
		if err != nil {
			return nil, fmt.Errorf("the page %s: %w", page, err)
		}
		pages[page] = t
	}
	return pages, nil
}
