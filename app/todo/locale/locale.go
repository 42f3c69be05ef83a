// Package locale says things in the languages of the people who use the
// application: messages, dates, sizes. The texts are in one file for each
// language; which language somebody wants is found from what their browser
// asks for and from what they chose.
package locale

import (
	"embed"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

//go:embed *.json
var texts embed.FS

// tags are the languages; the first is who understands none of them gets.
var tags = []language.Tag{language.English, language.French}

// Bundle has all languages.
type Bundle struct {
	locales []Locale
	matcher language.Matcher
}

// Locale speaks one language.
type Locale struct {
	Tag      string // as in lang="..."
	Name     string // what the language calls itself
	messages *i18n.Localizer
	numbers  *message.Printer
}

// Load reads the texts.
func Load() (*Bundle, error) {
	bundle := i18n.NewBundle(tags[0])
	bundle.RegisterUnmarshalFunc("json", json.Unmarshal)
	b := &Bundle{matcher: language.NewMatcher(tags)}
	for _, tag := range tags {
		if _, err := bundle.LoadMessageFileFS(texts, tag.String()+".json"); err != nil {
			return nil, fmt.Errorf("the texts: %w", err)
		}
		l := Locale{Tag: tag.String(), messages: i18n.NewLocalizer(bundle, tag.String()), numbers: message.NewPrinter(tag)}
		l.Name = l.T("language")
		b.locales = append(b.locales, l)
	}
	return b, nil
}

// All are the locales there are.
func (b *Bundle) All() []Locale { return b.locales }

// Match is the locale that fits best: the one chosen, else the best for an
// Accept-Language header.
func (b *Bundle) Match(chosen, acceptLanguage string) Locale {
	for _, l := range b.locales {
		if l.Tag == chosen {
			return l
		}
	}
	_, i := language.MatchStrings(b.matcher, acceptLanguage)
	return b.locales[i]
}

// T is a text. The pairs are names and values in it; a Count chooses between
// singular and plural. A text that does not exist shows its id, and fails a
// test.
func (l Locale) T(id string, pairs ...any) string {
	data := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		data[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	text, err := l.messages.Localize(&i18n.LocalizeConfig{MessageID: id, TemplateData: data, PluralCount: data["Count"]})
	if err != nil {
		return id
	}
	return text
}

// Date is a day like 2026-11-22 in words.
func (l Locale) Date(day string) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return day
	}
	return l.T("date", "Day", t.Day(), "Month", l.T("month."+strconv.Itoa(int(t.Month()))), "Year", t.Year())
}

// Time is a moment in words, in the zone of the server.
func (l Locale) Time(t time.Time) string {
	return l.T("time", "Date", l.Date(t.Format(time.DateOnly)), "Time", t.Format("15:04"))
}

// Size is a number of bytes in words.
func (l Locale) Size(bytes int64) string {
	const step = 1024
	if bytes < step {
		return l.T("size.b", "Size", bytes)
	}
	size, unit := float64(bytes)/step, "size.kib"
	if size >= step {
		size, unit = size/step, "size.mib"
	}
	return l.T(unit, "Size", l.numbers.Sprint(number.Decimal(size, number.MaxFractionDigits(1))))
}
