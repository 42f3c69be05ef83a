# What the cluster runs: said to all of it, by one of its hosts. Pacemaker starts,
# reloads and stops what has changed, and leaves the rest as it is.
place
/usr/local/lib/halinux/cib-apply "$cluster-" /etc/halinux/cib/resources.xml ||
	fail "the cluster did not take the resources" "the reason is above"
crm_resource --wait --timeout=240s || { crm_mon --one-shot --inactive; fail "the cluster did not settle within 4 minutes" "its state is above"; }
failed=$(crm_mon --output-as=xml --one-shot --inactive --include=none,resources | sed -n "s/.*<resource id=\"\($cluster-[^\"]*\)\".* active=\"false\".*/\1/p" | paste -sd' ')
[ -z "$failed" ] || { crm_mon --one-shot --inactive --include=failures; fail "these resources do not run: $failed" "the failures are above"; }
