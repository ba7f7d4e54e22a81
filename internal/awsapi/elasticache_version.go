package awsapi

import (
	"fmt"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type describeCacheEngineVersionsRequest struct {
	Engine, EngineVersion, CacheParameterGroupFamily string

	MaxRecords  *int
	Marker      string
	DefaultOnly bool
}

type cacheEngineVersion struct {
	Engine, EngineVersion, CacheParameterGroupFamily, CacheEngineDescription, CacheEngineVersionDescription string
}

type describeCacheEngineVersionsAnswer struct {
	Marker              string
	CacheEngineVersions []cacheEngineVersion `aws:"CacheEngineVersions.CacheEngineVersion"`
}

func describeCacheEngineVersions(_ *call, in describeCacheEngineVersionsRequest) (out describeCacheEngineVersionsAnswer, err error) {
	fits := func(asked, is string) bool { return asked == "" || strings.EqualFold(asked, is) }
	var versions []cacheEngineVersion
	for _, v := range world.EngineVersions(world.ElastiCache) {
		if fits(in.Engine, v.Engine) && fits(in.EngineVersion, v.Version) && fits(in.CacheParameterGroupFamily, v.Family) &&
			(!in.DefaultOnly || v.Version == world.DefaultVersion(world.ElastiCache, v.Engine)) {
			name := map[string]string{"redis": "Redis", "valkey": "Valkey"}[v.Engine]
			versions = append(versions, cacheEngineVersion{v.Engine, v.Version, v.Family, name, fmt.Sprintf("%s version %s", v.Engine, v.Version)})
		}
	}
	out.CacheEngineVersions, out.Marker, err = recordsPage(versions, func(v cacheEngineVersion) string { return v.Engine + " " + v.EngineVersion }, in.MaxRecords, in.Marker)
	return out, err
}
