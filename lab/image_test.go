package lab

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPruneImages(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	l, err := Find("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	images := filepath.Join(l.cache, "image")
	old := time.Now().Add(-keepImages - time.Hour)
	for name, at := range map[string]time.Time{
		"base-used": old, "disk-used": old, "mirror-served": old, "layer-recent": time.Now(),
		"disk-old": old, "mirror-old": old,
	} {
		if err := os.MkdirAll(filepath.Join(images, name, "root"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(images, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	for record, text := range map[string]string{
		"other/hosts/one/image": filepath.Join(images, "base-used", "root"),
		"other/hosts/two/image": filepath.Join(images, "gone") + "\n" + filepath.Join(images, "disk-used"),
		"test/mirror.served":    filepath.Join(images, "mirror-served"),
	} {
		if err := writeFile(filepath.Join(l.cache, "lab", record), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// One that this run asks for is kept, however old.
	asked := filepath.Join(images, "disk-asked")
	if err := os.Mkdir(asked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(asked, old, old); err != nil {
		t.Fatal(err)
	}
	if err := l.buildImage("asked", asked, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.pruneImages(time.Now()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(images)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{"base-used", "disk-asked", "disk-used", "layer-recent", "mirror-served"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

func TestSourcePackage(t *testing.T) {
	if name, err := sourcePackage("7.2.7"); err != nil || name != "linux-source-7.2" {
		t.Errorf("source of 7.2.7: %q, %v", name, err)
	}
	if name, err := sourcePackage("7.2"); err == nil {
		t.Errorf("source of 7.2: %q", name)
	}
}
