package locale

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func load(t *testing.T) *Bundle {
	t.Helper()
	b, err := Load()
	require.NoError(t, err)
	return b
}

// keys are a language's texts, with the names that each fills in.
func keys(t *testing.T, tag string) map[string][]string {
	t.Helper()
	data, err := texts.ReadFile(tag + ".json")
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, json.Unmarshal(data, &all))
	filled := regexp.MustCompile(`\{\{\.(\w+)\}\}`)
	out := map[string][]string{}
	for id, text := range all {
		raw, err := json.Marshal(text)
		require.NoError(t, err)
		names := filled.FindAllString(string(raw), -1)
		slices.Sort(names)
		out[id] = slices.Compact(names)
	}
	return out
}

func TestLanguagesSayTheSame(t *testing.T) {
	english := keys(t, "en")
	for _, tag := range tags[1:] {
		other := keys(t, tag.String())
		for id, names := range english {
			_, there := other[id]
			assert.True(t, there, "%s: %s is missing", tag, id)
			if id != "item_delete.files" { // English says "its file" of one
				assert.Equal(t, names, other[id], "%s: %s", tag, id)
			}
		}
		assert.Len(t, other, len(english))
	}
}

// Every text that a page or a handler asks for is there, and no other.
func TestNoTextIsMissingOrLeft(t *testing.T) {
	asked := map[string]bool{"language": true, "date": true, "time": true, "size.b": true, "size.kib": true, "size.mib": true}
	id := regexp.MustCompile(`"([a-z_]+(?:\.[a-z_0-9]+)+|app)"`)
	for _, pattern := range []string{"../web/*.go", "../web/templates/*.html"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			if match, _ := filepath.Match("*_test.go", filepath.Base(f)); match {
				continue
			}
			data, err := os.ReadFile(f)
			require.NoError(t, err)
			for _, m := range id.FindAllStringSubmatch(string(data), -1) {
				asked[m[1]] = true
			}
		}
	}
	composed := regexp.MustCompile(`^(month\.\d+|error\.[a-z]+(_text)?)$`)
	english := keys(t, "en")
	for id := range english {
		assert.True(t, asked[id] || composed.MatchString(id), "nobody asks for %s", id)
	}
	notTexts := regexp.MustCompile(`\.(html|css|svg|go|test)$`)
	for id := range asked {
		if !notTexts.MatchString(id) {
			assert.Contains(t, english, id)
		}
	}
}

func TestMatch(t *testing.T) {
	b := load(t)
	for _, c := range []struct{ chosen, accepted, want string }{
		{"", "", "en"}, {"", "fr-CA,en;q=0.5", "fr"}, {"", "de, fr;q=0.4", "fr"}, {"", "ja", "en"},
		{"fr", "en", "fr"}, {"xx", "fr", "fr"}, {"", "\x00;;q=,", "en"},
	} {
		assert.Equal(t, c.want, b.Match(c.chosen, c.accepted).Tag, "%v", c)
	}
}

func TestWords(t *testing.T) {
	b := load(t)
	english, french := b.Match("en", ""), b.Match("fr", "")
	assert.Equal(t, "1 open item", english.T("lists.open", "Count", 1))
	assert.Equal(t, "0 open items", english.T("lists.open", "Count", 0))
	assert.Equal(t, "0 élément à faire", french.T("lists.open", "Count", 0))
	assert.Equal(t, "2 éléments à faire", french.T("lists.open", "Count", 2))
	assert.Equal(t, "1000000 éléments à faire", french.T("lists.open", "Count", 1_000_000))
	assert.Equal(t, "22 November 2026", english.Date("2026-11-22"))
	assert.Equal(t, "3 août 2026", french.Date("2026-08-03"))
	assert.Equal(t, "someday", french.Date("someday"))
	assert.Equal(t, "3 août 2026 à 09:05", french.Time(time.Date(2026, 8, 3, 9, 5, 0, 0, time.Local)))
	assert.Equal(t, "5 bytes", english.Size(5))
	assert.Equal(t, "1.5 KiB", english.Size(1536))
	assert.Equal(t, "1,5 Mio", french.Size(3<<19))
	assert.Equal(t, "2 Mio", french.Size(2<<20))
	assert.Equal(t, "no.such.text", english.T("no.such.text"))
}
