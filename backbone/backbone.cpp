#include <hornet/backbone/backbone.h>
#include <hornet/backbone/error.h>
#include <hornet/backbone/hornet.h>
#include <hornet/backbone/resnet.h>

#include <map>
#include <mutex>
#include <sstream>

namespace hornet {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, BackboneFactory> factories;

  Registry() {
    for (const auto& names : {hornet_variant_names(), hornet_small_variant_names()}) {
      for (const std::string& name : names) {
        factories[name] = [name] { return std::make_shared<HorNetImpl>(hornet_variant(name)); };
      }
    }
    for (const std::string& name : resnet_variant_names()) {
      factories[name] = [name] { return std::make_shared<ResNetImpl>(resnet_variant(name)); };
    }
  }
};

Registry& registry() {
  static Registry instance;
  return instance;
}

std::string describe(const std::vector<FeatureInfo>& levels) {
  std::ostringstream text;
  for (size_t i = 0; i < levels.size(); ++i) {
    text << (i ? ", " : "") << levels[i].channels << " channels at stride " << levels[i].stride;
  }
  return text.str();
}

}  // namespace

void register_backbone(const std::string& name, BackboneFactory factory) {
  std::lock_guard<std::mutex> lock(registry().mutex);
  registry().factories[name] = std::move(factory);
}

std::shared_ptr<Backbone> make_backbone(const std::string& name) {
  BackboneFactory factory;
  {
    std::lock_guard<std::mutex> lock(registry().mutex);
    auto found = registry().factories.find(name);
    if (found != registry().factories.end()) factory = found->second;
  }
  if (factory) return factory();
  std::ostringstream known;
  for (const std::string& other : backbone_names()) known << ' ' << other;
  throw Error(ErrorCode::kUsage, "no backbone is called '" + name + "'; there are:" + known.str());
}

std::vector<std::string> backbone_names() {
  std::lock_guard<std::mutex> lock(registry().mutex);
  std::vector<std::string> names;
  for (const auto& entry : registry().factories) names.push_back(entry.first);
  return names;
}

void check_wiring(const std::vector<FeatureInfo>& given, const std::vector<FeatureInfo>& expected,
                  const std::string& consumer) {
  const bool same = std::equal(given.begin(), given.end(), expected.begin(), expected.end(),
                               [](const FeatureInfo& a, const FeatureInfo& b) {
                                 return a.channels == b.channels && a.stride == b.stride;
                               });
  if (same) return;
  throw Error(ErrorCode::kUsage, consumer + " was built for " + describe(expected) +
                                     ", but what it is wired to gives " + describe(given) +
                                     "; build it from the other side's feature_info()");
}

}  // namespace hornet
