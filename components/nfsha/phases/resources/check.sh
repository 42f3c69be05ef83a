down=$(crm_mon --output-as=xml --one-shot --inactive --include=none,resources 2>/dev/null | sed -n "s/.*<resource id=\"\($cluster-[^\"]*\)\".* active=\"false\".*/\1/p" | paste -sd' ')
[ -z "$down" ] || differs "not running: $down"
may=$(cibadmin --query --xpath "//rsc_location[starts-with(@id,'drbd-fence-by-handler-')]//expression" 2>/dev/null | sed -n 's/.* value="\([^"]*\)".*/\1/p')
[ -z "$may" ] || differs "only $may may serve until the other replica has caught up"
crm_attribute --type crm_config --name maintenance-mode --query --quiet 2>/dev/null | grep -qx true && differs "the cluster is in maintenance: nothing is watched"
:
