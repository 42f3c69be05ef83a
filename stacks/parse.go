package stacks

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/problem"
)

// Load reads the configuration of the stack that runs.
func Load(ctx *pulumi.Context) (*Config, error) {
	texts := map[string]string{}
	for _, key := range keys {
		if text, ok := ctx.GetConfig("halinux:" + key); ok {
			texts[key] = text
		}
	}
	for _, key := range unknownKeys() {
		texts[key] = ""
	}
	return Parse(texts)
}

// Parse reads a configuration strictly and reports all that is wrong with it,
// at once: a key that nobody knows is a problem, not a default. It takes the
// value of each key as the engine hands it over.
func Parse(texts map[string]string) (*Config, error) {
	c, l := read(texts)
	unread := l.All()
	values := c.Validate()
	for _, p := range values.All() {
		// What could not be read has been reported, and has no value to judge.
		if !slices.ContainsFunc(unread, func(u problem.Problem) bool {
			return strings.HasPrefix(strings.ToLower(p.Path)+".", strings.ToLower(u.Path)+".")
		}) {
			l.Add(p.Path, p.What, p.Remedy)
		}
	}
	if err := l.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Read is the part of [Parse] that does not judge the values, for who needs
// only the way to the hosts and has no secrets.
func Read(texts map[string]string) (*Config, error) {
	c, l := read(texts)
	return c, l.Err()
}

func read(texts map[string]string) (*Config, problem.List) {
	raw := map[string]any{}
	var l problem.List
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		if !slices.Contains(keys, key) {
			l.Add(key, "is not a key of the configuration", "check the spelling; known are "+strings.Join(keys, ", "))
			continue
		}
		raw[key] = scalars(&l, key, parse(texts[key]))
	}
	c := &Config{Drift: "off"}
	unread := decode(raw, c)
	if unread.Err() != nil {
		// The decoder leaves out the whole of what has a part that it cannot
		// read. Without these parts it can, and the rest can be judged.
		for _, p := range unread.All() {
			prune(raw, p.Path)
		}
		c = &Config{Drift: "off"}
		_ = decode(raw, c) // said already
	}
	l.Include("", unread)
	return c, l
}

var step = regexp.MustCompile(`[^.\[\]]+`)

// prune takes the value at a path of keys away; of a list, it empties the entry.
func prune(raw map[string]any, path string) {
	var at any = raw
	drop := func() {}
	for _, key := range step.FindAllString(path, -1) {
		switch v := at.(type) {
		case map[string]any:
			below, ok := v[key]
			if !ok {
				continue // the index of a list of one, written without the list
			}
			drop = func() { delete(v, key) }
			at = below
		case []any:
			n, err := strconv.Atoi(key)
			if err != nil || n >= len(v) {
				return
			}
			drop = func() { v[n] = map[string]any{} }
			at = v[n]
		}
	}
	drop()
}

// parse takes what the engine hands over: JSON for objects and lists, and the
// bare text for everything else.
func parse(text string) any {
	if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
		return text
	}
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return text
	}
	return v
}

// scalars makes every number and truth value the text that it was written as.
// The decoder parses texts with care, while it cuts 1.5 to 1, takes 60 for 60
// nanoseconds and lets large numbers wrap. A key without a value is reported:
// it reads like "as by default", and would mean "not at all".
func scalars(l *problem.List, path string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			v[key] = scalars(l, path+"."+key, v[key])
		}
	case []any:
		for i := range v {
			v[i] = scalars(l, fmt.Sprintf("%s[%d]", path, i), v[i])
		}
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case nil:
		l.Add(path, "has no value", "write {} for all defaults, or leave the key out")
		return map[string]any{}
	}
	return v
}

// unknownKeys are those that stand in the configuration and mean nothing. The
// engine tells a program its keys in PULUMI_CONFIG.
func unknownKeys() []string {
	all := map[string]any{}
	if json.Unmarshal([]byte(os.Getenv("PULUMI_CONFIG")), &all) != nil {
		return nil
	}
	var unknown []string
	for name := range all {
		if key, ours := strings.CutPrefix(name, "halinux:"); ours && !slices.Contains(keys, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// decode fills a struct from what was parsed, and reports every unknown key
// and every value of the wrong type with its path.
func decode(raw map[string]any, into any) problem.List {
	var l problem.List
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:           into,
		ErrorUnused:      true, // its list of unused keys ends at the first error
		WeaklyTypedInput: true, // all scalars are texts
		DecodeHook:       hook,
	})
	if err != nil {
		l.Add("", err.Error(), "this is a defect of halinux: please report it, with the lines that cause it")
		return l
	}
	addDecodeError(&l, raw, d.Decode(raw))
	return l
}

// hook reads what the decoder cannot read by itself: times, and values that a
// program may also take from another resource.
func hook(from, to reflect.Type, value any) (any, error) {
	text, ok := value.(string)
	switch {
	case !ok:
		return value, nil
	case to == reflect.TypeFor[pulumi.StringInput]():
		return pulumi.String(text), nil
	case to == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return nil, wrongType{fmt.Sprintf("%q is not a time", text), "write it with its unit, like 250ms, 30s or 24h"}
		}
		return d, nil
	}
	return value, nil
}

// wrongType is a value that cannot be what its key needs.
type wrongType struct{ what, remedy string }

func (e wrongType) Error() string { return e.what }

// addDecodeError takes the decoder's tree of errors apart.
func addDecodeError(l *problem.List, raw map[string]any, err error) {
	switch e := err.(type) {
	case nil:
	case *mapstructure.DecodeError:
		path := written(raw, e.Name())
		if unknown, ok := strings.CutPrefix(e.Unwrap().Error(), "has invalid keys: "); ok {
			for key := range strings.SplitSeq(unknown, ", ") {
				l.Add(path+"."+key, "is not a key of the configuration", "check the spelling")
			}
			return
		}
		w := why(e)
		l.Add(path, w.what, w.remedy)
	case interface{ Unwrap() []error }:
		for _, part := range e.Unwrap() {
			addDecodeError(l, raw, part)
		}
	case interface{ Unwrap() error }:
		addDecodeError(l, raw, e.Unwrap())
	default:
		l.Add("", err.Error(), "this is a defect of halinux: please report it, with the lines that cause it")
	}
}

// why says what a value should have been, in the words of the file.
func why(e *mapstructure.DecodeError) wrongType {
	var w wrongType
	var number *mapstructure.ParseError
	switch {
	case errors.As(e, &w):
		return w
	case errors.As(e, &number) && number.Expected.Kind() == reflect.Bool:
		return wrongType{fmt.Sprintf("%q is neither true nor false", number.Value), ""}
	case errors.As(e, &number):
		return wrongType{fmt.Sprintf("%q is not a whole number in range", number.Value), ""}
	case strings.HasPrefix(e.Unwrap().Error(), "expected a map"):
		return wrongType{"is a single value or a list", "write its keys below it, as `key: value`"}
	}
	return wrongType{"has values below it that cannot stand there", "write a single value, or a list where there may be several"}
}

// written is a path of Go fields, like Hosts[0].HostKey, with the keys as they
// were written: hosts[0].hostKey.
func written(raw any, path string) string {
	words := strings.Split(path, ".")
	at := raw
	for i, word := range words {
		name, index, _ := strings.Cut(word, "[")
		parent, _ := at.(map[string]any)
		at = nil
		for key, value := range parent {
			if strings.EqualFold(key, name) {
				words[i] = key + word[len(name):]
				at = value
			}
		}
		if list, ok := at.([]any); ok {
			if n, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil && n < len(list) {
				at = list[n]
			}
		}
	}
	return strings.Join(words, ".")
}
