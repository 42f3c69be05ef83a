package registry

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/halinux/halinux/components/problem"
)

var (
	userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	schedule = regexp.MustCompile(`^([0-9A-Za-z*,/-]+ ){4}[0-9A-Za-z*,/-]+$`)
)

// Validate finds all that is wrong with the arguments of the registry of a name.
func (a *RegistryArgs) Validate(name string) problem.List {
	var l problem.List
	// registry-collect-28412345 is the longest name that is made of it.
	if errs := validation.IsDNS1035Label(name); len(errs) > 0 || len(name) > 40 {
		l.Add("name", fmt.Sprintf("%q is not the name of a service", name), "use at most 40 small letters, digits and hyphens, a letter first")
	}
	if len(validation.IsDNS1123Subdomain(a.Host)) > 0 || !strings.Contains(a.Host, ".") {
		l.Add("host", fmt.Sprintf("%q is not a whole DNS name", a.Host), "write it like registry.example.org: without a dot, a client takes it for a part of docker.io")
	}
	if len(validation.IsDNS1123Label(a.namespace())) > 0 {
		l.Add("namespace", fmt.Sprintf("%q is not a DNS label", a.Namespace), "name the namespace of the registry")
	}
	image := a.image()
	switch {
	case strings.ContainsAny(image, " \t\n\"'") || strings.HasSuffix(image, ":") || strings.HasSuffix(image, "/"):
		l.Add("image", fmt.Sprintf("%q is not an image", image), "write it like mirror.example.org/registry:v3.1.2, or with its digest")
	case a.Host != "" && strings.HasPrefix(image, a.Host+"/"):
		l.Add("image", "is in this registry itself", "take it from the bundle or from another registry: this one could not start without itself")
	}
	if r := a.replicas(); r < 1 || r > 9 {
		l.Add("replicas", fmt.Sprintf("%d is outside of 1 to 9", r), "two survive the loss of a node")
	}
	if a.StorageClass != "" && len(validation.IsDNS1123Subdomain(a.StorageClass)) > 0 {
		l.Add("storageClass", fmt.Sprintf("%q is not the name of a class", a.StorageClass), "use one that `kubectl get storageclass` shows")
	}
	if q, err := resource.ParseQuantity(a.size()); err != nil || q.Value() < 100<<20 {
		l.Add("size", fmt.Sprintf("%q is not a size for it", a.Size), "use 100Mi or more")
	}
	if len(a.Users) == 0 {
		l.Add("users", "there is none", "name one or more: nobody else may push or pull")
	}
	seen := map[string]int{}
	for i, u := range a.Users {
		at := fmt.Sprintf("users[%d].name", i)
		if j, ok := seen[u.Name]; !userName.MatchString(u.Name) {
			l.Add(at, fmt.Sprintf("%q is not a name for a user", u.Name), "use at most 64 letters, digits, dots, underscores and hyphens")
		} else if ok {
			l.Add(at, fmt.Sprintf("%s is users[%d] too", u.Name, j), "name it once")
		} else {
			seen[u.Name] = i
		}
	}
	if a.IngressClass != "" && len(validation.IsDNS1123Subdomain(a.IngressClass)) > 0 {
		l.Add("ingressClass", fmt.Sprintf("%q is not the name of a class", a.IngressClass), "use one that `kubectl get ingressclass` shows")
	}
	for i, s := range a.Sources {
		if p, err := netip.ParsePrefix(s); err != nil || p != p.Masked() {
			l.Add(fmt.Sprintf("sources[%d]", i), fmt.Sprintf("%q is not a network", s), "write it like 10.10.0.0/24")
		}
	}
	l.Include("collection", a.Collection.validate())
	return l
}

func (c Collection) validate() problem.List {
	var l problem.List
	if !schedule.MatchString(c.schedule()) {
		l.Add("schedule", fmt.Sprintf("%q is not a schedule", c.Schedule), "write it like 20 3 * * *")
	}
	if g := c.grace(); g < time.Hour || g%time.Second != 0 {
		l.Add("grace", fmt.Sprintf("%s is no time for it", c.Grace), "use 1h or more, longer than any push takes")
	}
	if w := c.wait(); w < time.Minute || w > 12*time.Hour || w%time.Second != 0 {
		l.Add("wait", fmt.Sprintf("%s is outside of 1m to 12h, or no whole seconds", c.Wait), "leave it out for 30m")
	}
	return l
}
