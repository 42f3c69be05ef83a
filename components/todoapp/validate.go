package todoapp

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the same answer on every machine

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/halinux/halinux/components/kubeadm/release"
	"github.com/halinux/halinux/components/problem"
)

var (
	schedule = regexp.MustCompile(`^([0-9A-Za-z*,/-]+ ){4}[0-9A-Za-z*,/-]+$`)
	digest   = regexp.MustCompile(`@sha256:[0-9a-f]{64}$`)
	account  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,80}$`)
	database = regexp.MustCompile(`^[A-Za-z0-9_$-]{1,64}$`)
)

// Validate finds all that is wrong with the arguments of the application of a name.
func (a *TodoAppArgs) Validate(name string) problem.List {
	var l problem.List
	// todo-sweep-28412345-abcde is the longest name that is made of it.
	if len(validation.IsDNS1035Label(name)) > 0 || len(name) > 32 {
		l.Add("name", fmt.Sprintf("%q is not the name of a service", name), "use at most 32 small letters, digits and hyphens, a letter first")
	}
	if len(validation.IsDNS1123Label(a.namespace())) > 0 {
		l.Add("namespace", fmt.Sprintf("%q is not a DNS label", a.Namespace), "name the namespace of the application")
	}
	if len(a.Hosts) == 0 {
		l.Add("hosts", "the application has no name", "list the names under which it is asked for")
	}
	for i, h := range a.Hosts {
		at := fmt.Sprintf("hosts[%d]", i)
		if len(validation.IsDNS1123Subdomain(h)) > 0 || !strings.Contains(h, ".") {
			l.Add(at, fmt.Sprintf("%q is not a whole DNS name in lower case", h), "write it like todo.example.org")
		} else if slices.Contains(a.Hosts[:i], h) {
			l.Add(at, h+" stands there twice", "name it once")
		}
	}
	a.validateImage(&l)
	if a.replicas() < 2 {
		l.Add("replicas", fmt.Sprintf("%d pods", a.Replicas), "use 2 or more: one would be away whenever its node is")
	}
	if s := a.Autoscale; s != nil {
		if s.Max < a.replicas() {
			l.Add("autoscale.max", fmt.Sprintf("%d pods, fewer than the %d of replicas", s.Max, a.replicas()), "raise it, or lower replicas")
		}
		if s.cpu() < 10 || s.cpu() > 500 {
			l.Add("autoscale.cpu", fmt.Sprintf("%d %%", s.CPU), "use 10 to 500")
		}
	}
	request, err := resource.ParseQuantity(a.cpu())
	if err != nil || request.Sign() <= 0 {
		l.Add("cpu", fmt.Sprintf("%q is not a quantity", a.CPU), "write it like 100m")
	}
	if a.CPULimit != "" {
		if limit, bad := resource.ParseQuantity(a.CPULimit); bad != nil || limit.Sign() <= 0 {
			l.Add("cpuLimit", fmt.Sprintf("%q is not a quantity", a.CPULimit), "write it like 500m, or leave it out")
		} else if err == nil && limit.Cmp(request) < 0 {
			l.Add("cpuLimit", fmt.Sprintf("%s is less than the %s that is asked for", a.CPULimit, a.cpu()), "raise it, or lower cpu")
		}
	}
	if a.thumbnailMemory() < 1 {
		l.Add("thumbnailMemory", fmt.Sprintf("%d MiB", a.ThumbnailMemory), "use 1 or more")
	} else if least := a.thumbnailMemory() + 128; a.memory() < least {
		l.Add("memory", fmt.Sprintf("%d MiB", a.memory()), fmt.Sprintf("use %d or more, or lower thumbnailMemory: the pod would be killed by a picture", least))
	}
	size, err := resource.ParseQuantity(a.size())
	if err != nil || size.Value() < 1<<20 {
		l.Add("size", fmt.Sprintf("%q is not a size for it", a.Size), "use 1Gi or more")
	}
	if a.uploadLimit() < 1 {
		l.Add("uploadLimit", fmt.Sprintf("%d MiB", a.UploadLimit), "use 1 or more")
	} else if err == nil && int64(a.uploadLimit())<<20 > size.Value() {
		l.Add("uploadLimit", fmt.Sprintf("%d MiB is more than the volume has (%s)", a.uploadLimit(), a.size()), "lower it, or raise size")
	}
	if a.StorageClass != "" && len(validation.IsDNS1123Subdomain(a.StorageClass)) > 0 {
		l.Add("storageClass", fmt.Sprintf("%q is not the name of a class", a.StorageClass), "use one that `kubectl get storageclass` shows")
	}
	if _, err := time.LoadLocation(a.timeZone()); err != nil {
		l.Add("timeZone", fmt.Sprintf("%q is none", a.TimeZone), "write it like Europe/Paris")
	}
	if len(validation.IsDNS1123Subdomain(a.ingressClass())) > 0 {
		l.Add("ingressClass", fmt.Sprintf("%q is not the name of a class", a.IngressClass), "use one that `kubectl get ingressclass` shows")
	}
	if len(a.IngressFrom) == 0 {
		l.Add("ingressFrom", "there is none, and nobody could ask for a page", "give the networks of the ingress controller")
	}
	for path, networks := range map[string][]string{"ingressFrom": a.IngressFrom, "trustedProxies": a.TrustedProxies} {
		for i, n := range networks {
			if _, err := netip.ParsePrefix(n); err != nil {
				l.Add(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%q is not a network", n), "write it like 10.10.0.61/32")
			}
		}
	}
	for i, m := range a.Metrics {
		at := fmt.Sprintf("metrics[%d]", i)
		if len(m) == 0 {
			l.Add(at, "has no labels, and would be every pod", "name one or more")
		}
		for k, v := range m {
			if len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(v)) > 0 {
				l.Add(at, fmt.Sprintf("%s=%s is not a label", k, v), "use a pod's label")
			}
		}
	}
	if !schedule.MatchString(a.sweep()) {
		l.Add("sweep", fmt.Sprintf("%q is not a schedule", a.Sweep), "write it like 15 3 * * *")
	}
	a.validateDatabase(&l)
	return l
}

// validateImage refuses what would run one thing in one pod and another in the next.
func (a *TodoAppArgs) validateImage(l *problem.List) {
	if b := a.Build; b != nil {
		if a.Image != "" {
			l.Add("image", "stands there beside build", "keep one of them")
		}
		if b.Context == "" {
			l.Add("build.context", "is missing", "give the folder of the sources")
		}
		if !imageName(b.Name) || digest.MatchString(b.Name) || !strings.Contains(b.Name, "/") {
			l.Add("build.name", fmt.Sprintf("%q is not a name to push under", b.Name), "write it like registry.example.org/todo:1.0")
		}
		if (b.User == "") != (b.Password == nil) {
			l.Add("build.user", "one of user and password is missing", "give both, or none")
		}
		return
	}
	switch ref := a.image(); {
	case !imageName(ref):
		l.Add("image", fmt.Sprintf("%q is not an image", ref), "write it like registry.example.org/todo@sha256:...")
	case !digest.MatchString(ref) && !strings.HasPrefix(ref, release.Registry+"/"):
		l.Add("image", ref+" has no digest: what it means may change between two pods", "write it like registry.example.org/todo@sha256:...")
	}
}

func imageName(ref string) bool {
	return ref != "" && !strings.ContainsAny(ref, " \t\n\"'") && !strings.HasSuffix(ref, ":") && !strings.HasSuffix(ref, "/")
}

func (a *TodoAppArgs) validateDatabase(l *problem.List) {
	d := &a.Database
	for _, v := range []struct {
		path    string
		missing bool
	}{{"host", d.Host == nil}, {"password", d.Password == nil}, {"ca", d.CA == nil}} {
		if v.missing {
			l.Add("database."+v.path, "is missing", "take it from the outputs of the database")
		}
	}
	if p := d.port(); p < 1 || p > 65535 {
		l.Add("database.port", fmt.Sprintf("%d is not a port", p), "use 1 to 65535")
	}
	if !database.MatchString(d.name()) {
		l.Add("database.name", fmt.Sprintf("%q is not the name of a database", d.Name), "use one of the database's")
	}
	if !account.MatchString(d.user()) {
		l.Add("database.user", fmt.Sprintf("%q is not a name for a user", d.User), "use one of the database's")
	}
	if d.MigrateUser != "" {
		if !account.MatchString(d.MigrateUser) {
			l.Add("database.migrateUser", fmt.Sprintf("%q is not a name for a user", d.MigrateUser), "use one of the database's")
		}
	}
	if (d.MigrateUser == "") != (d.MigratePassword == nil) {
		l.Add("database.migrateUser", "one of it and its password is missing", "give both, or none")
	}
	if d.Namespace != "" && len(validation.IsDNS1123Label(d.Namespace)) > 0 {
		l.Add("database.namespace", fmt.Sprintf("%q is not a DNS label", d.Namespace), "name the namespace of the database")
	}
}
