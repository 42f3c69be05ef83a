package web

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestContrast computes the contrast of every text on its ground as WCAG 2.2
// defines it, in light and dark: 4.5 to 1 for text, 3 to 1 for edges.
func TestContrast(t *testing.T) {
	css, err := embedded.ReadFile("static/style.css")
	require.NoError(t, err)
	start := strings.Index(string(css), "prefers-color-scheme: dark")
	require.Positive(t, start)
	colour := regexp.MustCompile(`--([\w-]+): (#[0-9a-f]{6});`)
	for scheme, text := range map[string]string{"light": string(css[:start]), "dark": string(css[start:])} {
		colours := map[string]string{}
		for _, m := range colour.FindAllStringSubmatch(text, -1) {
			colours[m[1]] = m[2]
		}
		for _, pair := range []struct {
			front, back string
			least       float64
		}{
			{"text", "ground", 4.5}, {"text", "card", 4.5}, {"text", "tint", 4.5}, {"text", "bad-tint", 4.5}, {"text", "mark", 4.5},
			{"soft", "ground", 4.5}, {"soft", "card", 4.5}, {"soft", "tint", 4.5},
			{"accent", "ground", 4.5}, {"accent", "card", 4.5}, {"accent", "tint", 4.5}, {"accent-strong", "ground", 4.5}, {"accent-strong", "card", 4.5},
			{"on-accent", "accent", 4.5}, {"on-accent", "accent-strong", 4.5}, {"card", "bad", 4.5},
			{"good", "good-tint", 4.5}, {"bad", "card", 4.5}, {"bad", "tint", 4.5}, {"bad", "bad-tint", 4.5},
			{"edge", "card", 3}, {"edge", "tint", 3},
		} {
			require.Contains(t, colours, pair.front)
			require.Contains(t, colours, pair.back)
			got := contrast(t, colours[pair.front], colours[pair.back])
			assert.GreaterOrEqualf(t, got, pair.least, "%s: %s on %s has %.2f", scheme, pair.front, pair.back, got)
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) float64 {
	var c [3]uint8
	_, err := fmt.Sscanf(hex, "#%02x%02x%02x", &c[0], &c[1], &c[2])
	require.NoError(t, err)
	linear := func(v uint8) float64 {
		s := float64(v) / 255
		if s <= 0.04045 {
			return s / 12.92
		}
		return math.Pow((s+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}
