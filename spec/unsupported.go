package spec

const notSupported = "not supported by this version"

// Unsupported lists the keys of a valid app that mean something this version cannot do yet, sorted. An app with any is
// refused when it is applied rather than run as if the key were not there.
func (a App) Unsupported() []Fault {
	var f faults
	if a.Mode == Ring {
		f.addf("mode", "%s is %s", a.Mode, notSupported)
	}
	if a.Data == DataLocal {
		f.addf("data", "%s is %s", a.Data, notSupported)
	}
	for field, used := range map[string]bool{
		"partitions": a.Partitions != 0,
		"pool":       a.Pool != nil,
		"ring":       a.Ring != nil,
	} {
		if used {
			f.addf(field, notSupported)
		}
	}
	return f.sorted()
}
