// Members of COCO's JSON files, with errors that name the key: hornet::Error(kInput).
#pragma once

#include <hornet/pipelines/internal/fail_input.h>
#include <hornet/pipelines/run_length.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace hornet::internal {

// The file's text, and the document that a text is; both name `name` in errors.
std::string read_text(const std::filesystem::path& path);
nlohmann::json parse_document(const std::string& text, const std::string& name);

const nlohmann::json& member(const nlohmann::json& object, const char* key);
int64_t integer(const nlohmann::json& value, const char* key);
double number(const nlohmann::json& value, const char* key);
const nlohmann::json& array_of(const nlohmann::json& value, size_t size, const char* key);

// {"size": [height, width], "counts": text or list}. The counts add up to the size.
RunLengthMask run_length_mask(const nlohmann::json& value);

}  // namespace hornet::internal
